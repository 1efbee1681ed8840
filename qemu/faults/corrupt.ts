import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { messageOf } from "#lib/errors";
import { consoleLines } from "#manifest";
import { InitService } from "#proto/aios/init";
import { executeTool, followGoal, submitGoal } from "../goal.ts";
import { bootTimeoutMs, type Machine } from "../machine.ts";
import { atMost, type Campaign, counted, type Ground } from "./campaign.ts";
import { type Damage, damagesTo, harm, named } from "./damage.ts";
import { drawing, shuffled } from "./drawing.ts";
import { notReady } from "./units.ts";

const goalTimeoutMs = 60_000;
/** Pages of each database. */
const pagesOfEach = 12;

/** Files below the data volume, damaged one at a time; the machine boots, says what was lost, and works. */
export const corrupt: Campaign = {
  summary:
    "each file of the data volume emptied, torn, random, missing, databases page by page: it boots and works, natively",
  countDefault: 200,
  async run(ground) {
    const { seed, count = corrupt.countDefault, say } = ground;
    const random = drawing(seed);
    const whole = await lived(ground);
    const damages = shuffled(damagesTo(whole, pagesOfEach, random), random).slice(0, count);
    const results = [];
    for (const [at, damage] of damages.entries()) {
      const result = await survive(ground, whole, damage, random);
      if (result.problem !== "" || !result.told)
        say(`faults: corrupt: ${named(damage)}: ${result.problem || "nothing was said"}`);
      if ((at + 1) % 20 === 0) say(`faults: corrupt: ${at + 1} of ${damages.length}`);
      results.push(result);
    }
    return [
      counted("corrupt.damages", results.length, 1),
      atMost("corrupt.not_working", results.filter(({ problem }) => problem !== "").length, 0),
      atMost("corrupt.said_nothing", results.filter(({ told, problem }) => !told && problem === "").length, 0),
    ];
  },
};

/** The data of a machine that has done some work and was powered off. */
async function lived(ground: Ground): Promise<string> {
  const machine = await ground.boot({ lane: "native", name: "lived", data: "folder" });
  for (const words of [
    "report disk usage to /var/lib/aios/reports/disk.txt",
    "create a file /srv/x with content hello",
  ])
    await followGoal(machine, await submitGoal(machine, words), goalTimeoutMs);
  await executeTool(machine, "fs.write", { path: "/srv/y", content: "y" }, "something to look back on");
  await machine.powerOff();
  return ground.folder("lived/data");
}

/** What became of a machine whose data had this damage. */
async function survive(ground: Ground, whole: string, damage: Damage, random: () => number) {
  const name = "damaged";
  rmSync(ground.folder(name), { recursive: true, force: true });
  const data = ground.folder(`${name}/data`);
  mkdirSync(ground.folder(name));
  // With owners and attributes, which Node's own copy leaves out.
  execFileSync("cp", ["-a", "--reflink=auto", whole, data]);
  harm(data, damage, random);
  const machine = await ground.start({ lane: "native", name, data: "folder" });
  try {
    await machine.waitFor(new RegExp(`${consoleLines.ready}|${consoleLines.degraded}`), bootTimeoutMs.native);
    await machine.reached(bootTimeoutMs.native);
    const id = await submitGoal(machine, "create a file /srv/after with content again");
    const { goal } = await followGoal(machine, id, goalTimeoutMs);
    const down = await notReady(machine);
    const told = damage.kind === "missing" || isMadeAnew(damage) || (await saysOf(machine, damage));
    await machine.powerOff();
    const failed = goal?.status === "completed" ? [] : [`the goal ${goal?.status}: ${goal?.metadataJson.toString()}`];
    return { problem: [...failed, ...down.map((unit) => `${unit} is not ready`)].join("; "), told };
  } catch (error) {
    await machine.cut();
    return { problem: messageOf(error).split("\n")[0] ?? "", told: false };
  }
}

/** Nothing is lost with an index, which is made of what it indexes, nor with these, which are made anew at each start. */
const isMadeAnew = ({ file }: Damage) => file.includes("/vectors/") || madeAnew.has(basename(file));
const madeAnew: ReadonlySet<string> = new Set(["boot-good.json", "ledger.pub", "reserve"]);

/** Whether a log or the console names the file, or its store. */
async function saysOf(machine: Machine, { file }: Damage): Promise<boolean> {
  const stem = basename(file).replace(/\.[^.]*$/, "");
  const init = machine.client(InitService);
  try {
    const lines = machine.console.lines.map(({ text }) => text);
    for await (const { text } of init.readLogs({ unit: "", lines: 2_000, follow: false })) lines.push(text);
    return lines.some(
      (line) => line.includes(stem) && /"level":"(warn|error)"|fault|lost|damaged|aside|invalid/.test(line),
    );
  } finally {
    init.close();
  }
}
