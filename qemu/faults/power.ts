import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/errors";
import { verifyLedger } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { atMost, type Campaign, counted, type Ground } from "./campaign.ts";
import { between, drawing } from "./drawing.ts";
import { beginLines, countLines, lineOf, openOf, submitLine } from "./lines.ts";

/** After autonomy, when the power goes: within the first work, a backup, what the start left over. */
const cutWithinMs = 15_000;
const submitEveryMs = 500;
const endsWithinMs = 240_000;

/** Power cuts of a QEMU machine at random moments while goals are given; what was acknowledged is there afterwards. */
export const power: Campaign = {
  summary: "power cuts at random moments under load, in QEMU: nothing acknowledged is lost, nothing is done twice",
  countDefault: 100,
  async run(ground) {
    const { seed, count = power.countDefault, say } = ground;
    const random = drawing(seed);
    const ids = new Map<string, string>();
    let unbooted = 0;
    for (let at = 1; at <= count; at++) {
      try {
        const machine = await ground.boot({ lane: "qemu", name: "power" });
        if (at === 1) await beginLines(machine);
        await workUntilCut(machine, ids, between(0, cutWithinMs, random));
      } catch (error) {
        unbooted++;
        say(`faults: power: cut ${at}: ${messageOf(error).split("\n")[0]}`);
      }
      if (at % 10 === 0) say(`faults: power: ${at} of ${count} cuts, ${ids.size} goals given`);
    }
    const { twice, missing, lost, done, valid } = await settled(ground, ids);
    return [
      counted("power.cuts", count, 1),
      atMost("power.did_not_boot", unbooted, 0),
      counted("power.goals", ids.size, 1),
      counted("power.goals.completed", done.length),
      atMost("power.acknowledged_and_lost", lost, 0),
      atMost("power.done_twice", twice.length, 0),
      atMost("power.called_done_and_not_done", missing.length, 0),
      counted("power.ledger.valid", Number(valid), 1),
    ];
  },
};

/** Gives goals until the power goes. An acknowledgement that the cut swallowed counts for nothing. */
async function workUntilCut(machine: Machine, ids: Map<string, string>, ms: number): Promise<void> {
  const stop = new AbortController();
  const giving = (async () => {
    while (!stop.signal.aborted) {
      const at = ids.size;
      const id = await submitLine(machine, at).catch(() => undefined);
      if (id !== undefined) ids.set(id, lineOf(at));
      await delay(submitEveryMs, undefined, { signal: stop.signal }).catch(() => {});
    }
  })();
  await delay(ms);
  await machine.cut();
  stop.abort();
  await giving;
}

/** Boots once more, lets everything end, and counts. */
async function settled(ground: Ground, ids: ReadonlyMap<string, string>) {
  const machine = await ground.boot({ lane: "qemu", name: "power" });
  const until = performance.now() + endsWithinMs;
  for (;;) {
    const counts = await countLines(machine, ids);
    const open = openOf(counts.states).length > 0;
    if (!open || performance.now() > until) return { ...counts, ...(await verifyLedger(machine)) };
    await delay(1_000);
  }
}
