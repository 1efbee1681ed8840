import { setTimeout as delay } from "node:timers/promises";
import { quantile } from "../bench/repeat.ts";
import { verifyLedger } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { atMost, type Campaign, counted } from "./campaign.ts";
import { drawing, oneOf } from "./drawing.ts";
import { beginLines, countLines, lineOf, openOf, patiently, statesOf, submitLine } from "./lines.ts";
import { killNow, type Victim, victimsOf } from "./victims.ts";

/** A killed process runs again within this, natively. */
const backWithinMs = 2_000;
/** One that is not back by then is counted as lost. */
const backAtLastMs = 30_000;
const submitEveryMs = 1_000;
const pollMs = 10;
/** Restarts, retries and their pauses included. */
const endsWithinMs = 300_000;

/** SIGKILL to daemons and agents, drawn, one after the other, while goals are given and done. */
export const kill: Campaign = {
  summary: "SIGKILL to daemons and agents under load, natively: back within 2 s, nothing lost, nothing twice",
  countDefault: 1_000,
  async run({ boot, seed, count = kill.countDefault, say }) {
    const machine = await boot({ lane: "native", name: "kill" });
    await beginLines(machine);
    const victims = await victimsOf(machine);
    const random = drawing(seed);
    const stop = new AbortController();
    const ids = new Map<string, string>();
    const load = give(machine, ids, stop.signal);
    const times: number[] = [];
    for (let at = 1; at <= count; at++) {
      const { name, ms } = await killOne(machine, victims, random);
      if (ms > backWithinMs) say(`faults: kill: ${name}, the ${at}th, was back after ${ms.toFixed(0)} ms`);
      times.push(ms);
      if (at % 50 === 0) say(`faults: kill: ${at} of ${count}, ${ids.size} goals given`);
      await delay(random() * 400);
    }
    stop.abort();
    await load;
    await over(machine, ids);
    const { lines, done, twice, missing, lost } = await countLines(machine, ids);
    const { valid, entries } = await verifyLedger(machine);
    const sorted = times.toSorted((a, b) => a - b);
    return [
      counted("kill.kills", times.length, count),
      { name: "kill.back.p50", value: quantile(sorted, 0.5), unit: "ms" },
      { name: "kill.back.p99", value: quantile(sorted, 0.99), unit: "ms" },
      atMost("kill.back.longest", sorted.at(-1) ?? 0, backWithinMs, "ms"),
      atMost("kill.back.late", times.filter((ms) => ms > backWithinMs).length, 0),
      counted("kill.goals", ids.size, 1),
      counted("kill.goals.completed", done.length),
      counted("kill.lines", lines.length),
      atMost("kill.acknowledged_and_lost", lost, 0),
      atMost("kill.done_twice", twice.length, 0),
      atMost("kill.called_done_and_not_done", missing.length, 0),
      counted("kill.ledger.valid", Number(valid), 1),
      counted("kill.ledger.entries", entries),
    ];
  },
};

/** Gives a goal a second until it is told to stop. Each that was acknowledged is in `ids`. */
async function give(machine: Machine, ids: Map<string, string>, stop: AbortSignal): Promise<void> {
  for (let at = 0; !stop.aborted; at++) {
    ids.set(await patiently(() => submitLine(machine, at)), lineOf(at));
    await delay(submitEveryMs, undefined, { signal: stop }).catch(() => {});
  }
}

/** Kills one and waits until another process runs in its place; returns whom, and how long that took, ms. */
async function killOne(machine: Machine, victims: readonly Victim[], random: () => number) {
  for (;;) {
    const victim = oneOf(victims, random);
    const found = victim.pick(machine.processes());
    if (found === undefined || !killNow(found)) {
      await delay(pollMs);
      continue;
    }
    const at = performance.now();
    const back = () => {
      const now = victim.pick(machine.processes());
      return now !== undefined && now.pid !== found.pid;
    };
    while (!back() && performance.now() - at < backAtLastMs) await delay(pollMs);
    return { name: victim.name, ms: performance.now() - at };
  }
}

/** Waits until every goal has ended. */
async function over(machine: Machine, ids: ReadonlyMap<string, string>): Promise<void> {
  const until = performance.now() + endsWithinMs;
  for (;;) {
    const open = openOf(await patiently(() => statesOf(machine, ids.keys())));
    if (open.length === 0) return;
    if (performance.now() > until)
      throw new Error(`${open.length} goals have not ended: ${[...new Set(open)].join(", ")}`);
    await delay(500);
  }
}
