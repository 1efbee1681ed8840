import { backoff, delayAfter } from "./backoff.ts";

export type UnitState = "stopped" | "waiting" | "starting" | "ready" | "backoff" | "crash-loop" | "stopping";

/** One unit as it is now. */
export interface UnitStatus {
  readonly state: UnitState;
  /** 0 when not running. */
  readonly pid: number;
  /** Of the last start, milliseconds since the epoch; 0 = never. */
  readonly startedAt: number;
  /** Of the last start and of the first readiness after it, monotonic; 0 = not (yet). */
  readonly startedMs: number;
  readonly readyMs: number;
  /** It has answered its health check since its last start, whatever it said. */
  readonly answers: boolean;
  /** Starts after the first, by itself or on demand. */
  readonly restarts: number;
  /** Failures in a row. */
  readonly failures: number;
  /** Why it is in this state, in words. */
  readonly reason: string;
  /** When a unit in back-off starts again, milliseconds since the epoch; else 0. */
  readonly nextStartAt: number;
  /** The state that follows when it has stopped. */
  readonly afterStop: "stopped" | "waiting";
  /** It is meant to run: it was started, and nobody has stopped it since, nor is it done with its work. */
  readonly wanted: boolean;
  /** Why init killed it; its exit then counts as this failure. */
  readonly doomed?: string;
}

export type UnitEvent =
  | { readonly kind: "start" }
  | { readonly kind: "stop" }
  | { readonly kind: "restart" }
  /** Everything it needs is ready. */
  | { readonly kind: "needs-ready" }
  | { readonly kind: "spawned"; readonly pid: number }
  /** `reason`: how that shows. */
  | { readonly kind: "ready"; readonly reason?: string }
  /** It answers, and says that it is not ready. */
  | { readonly kind: "unready" }
  /** It did not become ready in time, or stopped answering. */
  | { readonly kind: "hung"; readonly reason: string }
  /** Its process ended, or could not be started. */
  | { readonly kind: "ended"; readonly how: string }
  | { readonly kind: "delay-over" }
  /** It was told to end and did not. */
  | { readonly kind: "grace-over" };

/** The supervisor's next act. */
export type UnitAction =
  | { readonly kind: "spawn" }
  | { readonly kind: "terminate" }
  | { readonly kind: "kill" }
  | { readonly kind: "wait"; readonly delayMs: number };

/** The moment and the chance that a transition sees. */
export interface Moment {
  readonly nowMs: number;
  readonly monotonicMs: number;
  /** 0 to 1. */
  readonly random: number;
}

export interface Transition {
  readonly unit: UnitStatus;
  readonly actions: readonly UnitAction[];
}

export const stoppedUnit: UnitStatus = {
  state: "stopped",
  pid: 0,
  startedAt: 0,
  startedMs: 0,
  readyMs: 0,
  answers: false,
  restarts: 0,
  failures: 0,
  reason: "not started yet",
  nextStartAt: 0,
  afterStop: "stopped",
  wanted: false,
};

/** When a unit that has ended is started again; "on-failure" = unless it was done with its work. */
export type Restart = "always" | "on-failure" | "never";

/** How a process ended, in words, that was done with its work. */
export const endedCleanly = "ended with exit code 0";

/** The unit after `event`. An event that means nothing in the present state changes nothing. */
export function transition(unit: UnitStatus, event: UnitEvent, at: Moment, restart: Restart): Transition {
  switch (event.kind) {
    case "start":
      return start(unit);
    case "stop":
      return stop(unit, "stopped");
    case "restart":
      return isRunning(unit) ? stop(unit, "waiting") : start(unit);
    case "needs-ready":
      return unit.state === "waiting" ? spawn(unit, at) : same(unit);
    case "spawned":
      return same({ ...unit, pid: event.pid });
    case "ready":
      return becomeReady(unit, at, event.reason ?? "answers its health check");
    case "unready":
      return becomeUnready(unit);
    case "hung":
      if (!isRunning(unit) || unit.state === "stopping" || unit.doomed !== undefined) return same(unit);
      return { unit: { ...unit, doomed: event.reason, reason: event.reason }, actions: [{ kind: "kill" }] };
    case "ended":
      return afterEnd(unit, event.how, at, restart);
    case "delay-over":
      return isWaitingToRestart(unit) ? same(toWaiting(unit)) : same(unit);
    case "grace-over":
      return unit.state === "stopping" ? { unit, actions: [{ kind: "kill" }] } : same(unit);
  }
}

export function isRunning({ state }: UnitStatus): boolean {
  return state === "starting" || state === "ready" || state === "stopping";
}

function isWaitingToRestart({ state }: UnitStatus): boolean {
  return state === "backoff" || state === "crash-loop";
}

function same(unit: UnitStatus): Transition {
  return { unit, actions: [] };
}

function start(unit: UnitStatus): Transition {
  const wanted = { ...unit, wanted: true };
  if (unit.state === "stopping") return same({ ...wanted, afterStop: "waiting" });
  if (unit.state === "stopped" || isWaitingToRestart(unit)) return same(toWaiting({ ...wanted, failures: 0 }));
  return same(wanted);
}

function toWaiting(unit: UnitStatus): UnitStatus {
  return { ...unit, state: "waiting", reason: "waits for the units it needs", nextStartAt: 0 };
}

function spawn(unit: UnitStatus, at: Moment): Transition {
  const restarts = unit.startedAt === 0 ? 0 : unit.restarts + 1;
  const { doomed: _, ...rest } = unit;
  const started = { startedAt: at.nowMs, startedMs: at.monotonicMs, readyMs: 0, answers: false, restarts };
  return {
    unit: { ...rest, ...started, state: "starting", reason: "started, not ready yet", afterStop: "stopped" },
    actions: [{ kind: "spawn" }],
  };
}

function becomeReady(unit: UnitStatus, at: Moment, reason: string): Transition {
  if (unit.state !== "starting" || unit.doomed !== undefined) return same(unit);
  const readyMs = unit.readyMs === 0 ? at.monotonicMs : unit.readyMs;
  return same({ ...unit, state: "ready", answers: true, readyMs, reason });
}

function becomeUnready(unit: UnitStatus): Transition {
  if (unit.state !== "ready" && unit.state !== "starting") return same(unit);
  return same({ ...unit, state: "starting", answers: true, reason: "answers its health check, and is not ready" });
}

function stop(unit: UnitStatus, afterStop: UnitStatus["afterStop"]): Transition {
  const told = { ...unit, wanted: afterStop === "waiting" };
  if (unit.state === "stopping") return same({ ...told, afterStop });
  if (!isRunning(unit)) {
    return same({ ...told, state: "stopped", reason: "stopped on demand", nextStartAt: 0 });
  }
  const reason = afterStop === "waiting" ? "stopping, to be started again" : "stopping on demand";
  return { unit: { ...told, state: "stopping", afterStop, reason }, actions: [{ kind: "terminate" }] };
}

function afterEnd(unit: UnitStatus, how: string, at: Moment, restart: Restart): Transition {
  if (!isRunning(unit)) return same(unit);
  const gone = { ...unit, pid: 0, answers: false };
  if (unit.state === "stopping") {
    return unit.afterStop === "waiting"
      ? same(toWaiting({ ...gone, failures: 0 }))
      : same({ ...gone, state: "stopped", reason: "stopped on demand" });
  }
  const reason = unit.doomed ?? how;
  const done = restart === "on-failure" && reason === endedCleanly;
  if (restart === "never" || done) return same({ ...gone, state: "stopped", reason, wanted: !done });
  const readyForMs = unit.readyMs > 0 ? at.monotonicMs - unit.readyMs : 0;
  const failures = Math.max(0, unit.failures - Math.floor(readyForMs / backoff.forgottenAfterMs)) + 1;
  const delayMs = delayAfter(failures, at.random);
  return {
    unit: {
      ...gone,
      state: failures >= backoff.crashLoopAfter ? "crash-loop" : "backoff",
      failures,
      reason,
      nextStartAt: at.nowMs + delayMs,
    },
    actions: [{ kind: "wait", delayMs }],
  };
}
