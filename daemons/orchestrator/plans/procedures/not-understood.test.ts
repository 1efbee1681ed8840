import { describe, expect, it } from "vitest";
import { NoModel, type PlanSource } from "../../plan.ts";
import { plannerOver } from "../planner.ts";
import { procedureSource } from "./procedure-source.ts";
import { readProcedures } from "./procedures.ts";

const shipped = readProcedures(new URL("../../../../rootfs/etc/aios/procedures", import.meta.url).pathname);

/** A model's source that has no model to ask. */
const lacking: PlanSource = {
  name: "the strategic model",
  level: "strategic",
  draft: async () => {
    throw new NoModel("FAILED_PRECONDITION", "ask a model: none is there");
  },
};
const planner = plannerOver([procedureSource(() => shipped), lacking], async () => []);

const answerTo = async (description: string): Promise<string> => {
  const objective = { goalId: "g", description, answers: [], done: [], failure: "" };
  const { draft } = await planner.plan(objective, new AbortController().signal);
  return "reason" in draft ? draft.reason : "understood";
};

describe("a goal that is not understood", () => {
  it.each([
    ["restart my nginx service right away", ["restart service {name}"]],
    ["make a report of the disk", ["report disk usage to {path}"]],
    ["tell free memory", ["how much memory is free"]],
    ["delete some old files", ["delete file {path}"]],
    ["install docker for me", ["install {name}"]],
    ["show the version of package nginx", ["show version"]],
  ])("%s: is answered with what is near", async (goal, near) => {
    const answer = await answerTo(goal);
    for (const text of near) expect(answer).toContain(`"${text}"`);
    expect(answer).toMatch(/; say it as "/);
    expect(answer).not.toContain("aiosctl");
    expect(answer.match(/"/g)?.length).toBeLessThanOrEqual(8);
  });

  it.each([
    ["what ports are open", ["is port {port} open"]],
    ["show cpu usage", ["report cpu usage to {path}", "show disk usage", "show memory usage"]],
    ["remove all packages that are not needed", ["remove package {name}"]],
    ["delete the server log", ["delete {path}"]],
    ["install nginx and curl", ["install {name}"]],
    [
      "what services are running and how much memory do they use",
      ["which services are running", "what uses most memory"],
    ],
    ["how much memory does nginx use", ["what uses most memory"]],
    ["download https://example.org/a/b/c/d.txt", ["download {url} to {path}"]],
    ["find large files", ["find files named {pattern} in {path}"]],
    ["open port 80 and 443", ["open port {port}"]],
  ])("%s: is answered with what does that, and with nothing else", async (goal, near) => {
    expect(await answerTo(goal)).toBe(
      `no procedure covers this goal: "${goal}"; say it as ${near.map((text) => `"${text}"`).join(" or ")}`,
    );
  });

  it.each([
    ["reboot", "restart"],
    ["please restart the machine now", "restart"],
    ["Shut down this computer.", "off"],
    ["turn off the server", "off"],
  ])("%s: is told the command that does it", async (goal, verb) => {
    expect(await answerTo(goal)).toBe(
      `no procedure covers this goal: "${goal}"; that is no goal but a command: aiosctl power ${verb}`,
    );
  });

  it.each([
    "write me a poem about the sea",
    "compose a symphony",
    "brew some coffee",
    "list the users",
    "你好",
    "what is the weather",
    "what can you do",
    "how are you",
    "rotate logs",
    "restore my backup",
  ])("%s: names nothing where nothing is near, and one thing that helps", async (goal) => {
    expect(await answerTo(goal)).toBe(
      `no procedure covers this goal: "${goal}"; no model is there to plan it: give a provider a key ("aiosctl secrets set claude")`,
    );
  });

  it.each([
    "delete everything",
    "erase the disk",
    "format the hard disk now",
    "wipe this machine",
    "delete all files on the disk",
    "destroy yourself",
    "rm -rf /",
    "kill all processes",
    "delete all my files",
    "wipe the disk clean",
    "erase every drive for good",
    "nuke the machine",
    "zero out the hard drive with zeros",
    "rm -r -f /",
    "chmod -R 777 /",
    "kill -9 1",
  ])("%s: is not answered with how it could be done", async (goal) => {
    expect(await answerTo(goal)).toBe(
      `no procedure covers this goal: "${goal}"; it would break the machine: name the one thing that is to go`,
    );
  });

  it.each([
    "create file /srv/x with content hello and make it readable only by root",
    "report disk usage to disk.txt",
    "append hello to /srv/a and bye to /srv/b",
  ])("%s: is told what is wrong with it, and nothing of models", async (goal) => {
    expect(await answerTo(goal)).not.toContain("model");
  });

  it("is answered in less than 250 characters, however long it is", async () => {
    for (const goal of [
      "x".repeat(4_000),
      "😀".repeat(2_000),
      `disk report service restart ${"memory ".repeat(500)}`,
    ]) {
      const answer = await answerTo(goal);
      expect(answer.length).toBeLessThan(250);
      expect(answer.isWellFormed()).toBe(true);
    }
  });
});
