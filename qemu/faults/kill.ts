import { setTimeout as delay } from "node:timers/promises";
import { quantile } from "../bench/repeat.ts";
import { verifyLedger } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { atMost, type Campaign, counted } from "./campaign.ts";
import { drawing, shuffled } from "./drawing.ts";
import { beginLines, countLines, lineOf, openOf, patiently, statesOf, submitLine } from "./lines.ts";
import { notReady } from "./units.ts";
import { killNow, type Victim, victimsOf } from "./victims.ts";

/** A killed process runs again within this, natively. */
const backWithinMs = 2_000;
/** One that is not back by then is counted as lost. */
const backAtLastMs = 30_000;
const submitEveryMs = 1_000;
const pauseMaxMs = 400;
const pollMs = 10;
/** Restarts, retries and their pauses included. */
const endsWithinMs = 300_000;

/**
 * SIGKILL to daemons and agents, one after the other, while goals are given and done: round after round, each of them in an order
 * that is drawn. One that is killed as soon as it is up, again and again, would be a crash loop, which waits on purpose.
 */
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
    const readyTimes: number[] = [];
    let round: Victim[] = [];
    const kills = async () => {
      for (let at = 1; at <= count && !stop.signal.aborted; at++) {
        if (round.length === 0) round = shuffled(victims, random);
        const victim = round.pop();
        if (victim === undefined) throw new Error("nobody can be killed");
        const { ms, readyMs } = await killOne(machine, victim);
        if (ms > backWithinMs) say(`faults: kill: ${victim.name}, the ${at}th, was back after ${ms.toFixed(0)} ms`);
        times.push(ms);
        readyTimes.push(readyMs);
        if (at % 50 === 0) say(`faults: kill: ${at} of ${count}, ${ids.size} goals given`);
        await delay(random() * pauseMaxMs);
      }
    };
    await Promise.all([kills().finally(() => stop.abort()), load]).finally(() => stop.abort());
    await over(machine, ids);
    const { lines, done, twice, missing, lost } = await countLines(machine, ids);
    const { valid, entries } = await verifyLedger(machine);
    const sorted = times.toSorted((a, b) => a - b);
    const sortedReady = readyTimes.toSorted((a, b) => a - b);
    return [
      counted("kill.kills", times.length, count),
      { name: "kill.back.p50", value: quantile(sorted, 0.5), unit: "ms" },
      { name: "kill.back.p99", value: quantile(sorted, 0.99), unit: "ms" },
      atMost("kill.back.longest", sorted.at(-1) ?? 0, backWithinMs, "ms"),
      atMost("kill.back.late", times.filter((ms) => ms > backWithinMs).length, 0),
      { name: "kill.all_ready.p50", value: quantile(sortedReady, 0.5), unit: "ms" },
      { name: "kill.all_ready.p99", value: quantile(sortedReady, 0.99), unit: "ms" },
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

/**
 * Kills one, waits until another process runs in its place and until every unit is ready again; returns how long each took, ms.
 */
async function killOne(machine: Machine, victim: Victim) {
  let at = performance.now();
  const took = () => performance.now() - at;
  let found = victim.pick(machine.processes());
  while (found === undefined || !killNow(found)) {
    if (took() > backAtLastMs) throw new Error(`${victim.name} does not run, so it cannot be killed`);
    await delay(pollMs);
    found = victim.pick(machine.processes());
  }
  const { pid } = found;
  at = performance.now();
  const back = () => {
    const now = victim.pick(machine.processes());
    return now !== undefined && now.pid !== pid;
  };
  while (!back() && took() < backAtLastMs) await delay(pollMs);
  const ms = took();
  const ready = () =>
    notReady(machine).then(
      (units) => units.length === 0,
      () => false,
    );
  while (!(await ready()) && took() < backAtLastMs) await delay(pollMs);
  return { ms, readyMs: took() };
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
