import { describe, expect, it } from "vitest";
import { backoff, delayAfter } from "./backoff.ts";
import {
  endedCleanly,
  isRunning,
  type Moment,
  stoppedUnit,
  transition,
  type UnitEvent,
  type UnitStatus,
} from "./units.ts";

/** Numbers from 0 to 1, the same for a seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const events: readonly ((random: () => number) => UnitEvent)[] = [
  () => ({ kind: "start" }),
  () => ({ kind: "stop" }),
  () => ({ kind: "restart" }),
  () => ({ kind: "needs-ready" }),
  (random) => ({ kind: "spawned", pid: 2 + Math.floor(random() * 1000) }),
  () => ({ kind: "ready" }),
  () => ({ kind: "unready" }),
  () => ({ kind: "hung", reason: "hung" }),
  () => ({ kind: "ended", how: "ended by SIGKILL" }),
  () => ({ kind: "delay-over" }),
  () => ({ kind: "grace-over" }),
];

const at = (monotonicMs: number, random = 0.5): Moment => ({ nowMs: 1e12 + monotonicMs, monotonicMs, random });

function apply(unit: UnitStatus, ...kinds: UnitEvent[]): UnitStatus {
  return kinds.reduce((status, event, index) => transition(status, event, at(index + 1), "always").unit, unit);
}

const start: UnitEvent = { kind: "start" };
const needsReady: UnitEvent = { kind: "needs-ready" };
const ready: UnitEvent = { kind: "ready" };
const ended: UnitEvent = { kind: "ended", how: "ended with exit code 1" };
const delayOver: UnitEvent = { kind: "delay-over" };

describe("a unit", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])("keeps its invariants under any events (seed %i)", (seed) => {
    const random = randomOf(seed);
    let unit: UnitStatus = stoppedUnit;
    let processes = 0;
    for (let step = 0; step < 5_000; step += 1) {
      const event = events[Math.floor(random() * events.length)]?.(random) ?? start;
      // The supervisor tells of a process only when there is one.
      if (event.kind === "spawned" && processes === 0) continue;
      if (event.kind === "ended" && processes === 0) continue;
      const before = unit;
      const { unit: now, actions } = transition(
        unit,
        event,
        at(step * 10, random()),
        random() < 0.9 ? "always" : "never",
      );
      unit = now;
      for (const action of actions) {
        if (action.kind === "spawn") processes += 1;
        if (action.kind === "terminate" || action.kind === "kill") expect(processes).toBe(1);
        if (action.kind === "wait") expect(action.delayMs).toBeLessThanOrEqual(backoff.longestMs * 1.2);
      }
      if (event.kind === "ended" && isRunning(before)) processes -= 1;
      expect(processes).toBe(isRunning(unit) ? 1 : 0);
      if (!isRunning(unit)) expect(unit.pid).toBe(0);
      expect(unit.nextStartAt > 0).toBe(unit.state === "backoff" || unit.state === "crash-loop");
      if (unit.state === "crash-loop") expect(unit.failures).toBeGreaterThanOrEqual(backoff.crashLoopAfter);
      expect(unit.reason).not.toBe("");
      expect(unit.restarts).toBeGreaterThanOrEqual(before.restarts);
    }
  });

  it("waits twice as long after each failure and is in a crash loop after five", () => {
    const delays: number[] = [];
    let unit = apply(stoppedUnit, start);
    for (let failure = 1; failure <= 6; failure += 1) {
      unit = apply(unit, needsReady);
      const { unit: next, actions } = transition(unit, ended, at(1), "always");
      const [action] = actions;
      if (action?.kind === "wait") delays.push(action.delayMs);
      expect(next.state).toBe(failure < 5 ? "backoff" : "crash-loop");
      unit = apply(next, delayOver);
    }
    expect(delays).toEqual([200, 400, 800, 1600, 30_000, 30_000]);
    expect([delayAfter(1, 0), delayAfter(1, 1)]).toEqual([150, 250]);
  });

  it("forgets a failure for every six seconds of readiness", () => {
    const running = { ...apply(stoppedUnit, start, needsReady, ready), failures: 4 };
    const after = (ms: number) => transition(running, ended, at(running.readyMs + ms), "always").unit.failures;
    expect([5_900, 6_000, 12_000, 24_000, 60_000].map(after)).toEqual([5, 4, 3, 1, 1]);
  });

  it("is not ready while it says so itself, and starts over only by its exit", () => {
    const unready = apply(stoppedUnit, start, needsReady, ready, { kind: "unready" });
    expect(unready).toMatchObject({ state: "starting", reason: "answers its health check, and is not ready" });
    expect(apply(unready, ready)).toMatchObject({ state: "ready", readyMs: unready.readyMs });
  });

  it("names the reason it was killed for, not the signal", () => {
    const doomed = apply(stoppedUnit, start, needsReady, { kind: "hung", reason: "did not answer" });
    expect(apply(doomed, ready, { kind: "ended", how: "ended by SIGKILL" })).toMatchObject({
      state: "backoff",
      reason: "did not answer",
    });
  });

  it("comes back after a restart, stays away after a stop, and never comes back when it may not", () => {
    const running = apply(stoppedUnit, start, needsReady, ready);
    expect(apply(running, { kind: "restart" }, ended).state).toBe("waiting");
    expect(apply(running, { kind: "stop" }, ended)).toMatchObject({ state: "stopped", pid: 0 });
    expect(apply(running, { kind: "stop" }, start, ended).state).toBe("waiting");
    expect(transition(running, ended, at(9), "never").unit).toMatchObject({
      state: "stopped",
      reason: "ended with exit code 1",
    });
  });

  it("is meant to run from its start on, until somebody stops it or it is done with its work", () => {
    const running = apply(stoppedUnit, start, needsReady, ready);
    const ends = (how: string, restart: "always" | "on-failure" | "never") =>
      transition(running, { kind: "ended", how }, at(9), restart).unit;
    expect([stoppedUnit.wanted, running.wanted]).toEqual([false, true]);
    expect(apply(running, { kind: "stop" }, ended)).toMatchObject({ state: "stopped", wanted: false });
    expect(apply(running, { kind: "stop" }, start).wanted).toBe(true);
    expect(apply(running, { kind: "restart" }, ended).wanted).toBe(true);
    expect(ends("ended by SIGKILL", "always")).toMatchObject({ state: "backoff", wanted: true });
    expect(ends(endedCleanly, "never")).toMatchObject({ state: "stopped", wanted: true });
    expect(ends(endedCleanly, "on-failure")).toMatchObject({ state: "stopped", wanted: false });
    expect(apply(ends("ended by SIGKILL", "never"), { kind: "stop" }).wanted).toBe(false);
  });
});
