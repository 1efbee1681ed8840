import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { openStrategist, type Strategist } from "../goals/strategist.ts";
import type { Machine } from "../machine.ts";
import { aiosctlFor, type Ran } from "./aiosctl.ts";
import { laneRuns, useFleet } from "./fleet.ts";

const report = "/var/lib/aios/reports/chat.txt";
const note = "/srv/note.txt";

const saying = (say: string, ...calls: readonly [tool: string, input: object][]) => ({
  text: JSON.stringify({ say, calls: calls.map(([tool, input]) => ({ tool, input_json: JSON.stringify(input) })) }),
});

describe.each(["native", "qemu"] as const)("a conversation on a machine of the %s lane", (lane) => {
  describe.runIf(laneRuns(lane))("with the task agent", () => {
    const fleet = useFleet();
    let machine: Machine;
    let model: Strategist;
    let session = "";
    const aiosctl = (...argv: string[]) => aiosctlFor(machine, fleet.operatorFolder)(...argv);

    afterAll(() => model?.server.close());

    it("makes goals of what it knows how to do, and says so of what it does not", async () => {
      model = await openStrategist("openai", lane, {});
      machine = await fleet.boot({ lane, name: `chat-${lane}`, append: model.append });
      const told = await aiosctl("chat", `report memory usage to ${report}`);
      expect(told, told.error).toMatchObject({ code: 0 });
      expect(told.out).toMatch(/as a goal of the machine\n(?:.|\n)*[\d.]+ % of \d+ MiB used/);
      session = /session ([0-9a-f-]{36})/.exec(told.error)?.[1] ?? "";
      const unknown = await aiosctl("chat", "--session", session, "write me a poem about the sea");
      expect(unknown.out).toMatch(/no model here(?:.|\n)*aiosctl goal known(?:.|\n)*aiosctl secrets set/);
    }, 300_000);

    // A machine of the QEMU lane reaches nothing outside of itself.
    const thinks = it.runIf(lane === "native");

    thinks(
      "looks by the agent's tools once a model can think",
      async () => {
        await model.introduce(machine);
        model.server.say(saying("I look.", ["fs.read", { path: report }]), saying("It is memory."));
        const looked = await aiosctl("chat", "--session", session, "what is in that report?");
        expect(looked.out, looked.error).toBe(
          `I look.\n  ▶ fs.read {"path":"${report}"}\n  ✓ fs.read\nIt is memory.\n`,
        );
        // All of the conversation is in the question, what tools gave as marked data.
        const { messages } = model.server.requests.at(-1)?.body ?? {};
        expect(JSON.stringify(messages)).toMatch(/poem about the sea.*<data-\w+.*MiB/);
      },
      120_000,
    );

    thinks(
      "asks before it changes anything",
      async () => {
        model.server.say(saying("", ["fs.write", { path: note, content: "milk\n" }]), saying("Noted."));
        const asking = aiosctl("chat", "note that milk is wanted");
        const ticket = await waiting(aiosctl);
        expect(ticket.preview).toContain("+milk");
        expect((await aiosctl("tool", "call", "fs.stat", JSON.stringify({ path: note }))).code).toBe(1);
        expect((await aiosctl("approvals", "approve", ticket.id, "--digest", ticket.digest)).code).toBe(0);
        const told = await asking;
        expect(told, told.error).toMatchObject({ code: 0, out: expect.stringMatching(/✓ fs\.write\nNoted\.\n$/) });
        expect(told.error).toContain(`aiosctl approvals show ${ticket.id}`);
        const { out } = await aiosctl("audit", "--tool", "fs.write", "--json");
        const calls = out
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line));
        expect(calls).toContainEqual(
          expect.objectContaining({ execution_id: ticket.id, caller: "task", state: "done" }),
        );
      },
      300_000,
    );
  });
});

async function waiting(
  aiosctl: (...argv: string[]) => Promise<Ran>,
): Promise<{ id: string; digest: string; preview: string }> {
  for (;;) {
    const [first] = JSON.parse((await aiosctl("approvals", "--json")).out).waiting;
    if (first !== undefined) return first;
    await delay(500);
  }
}
