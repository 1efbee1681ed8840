/**
 * Task assignment is a long poll. An agent asks `GetAssignedTask` and the orchestrator answers when there is a task.
 * Clients of the public system work unchanged, and nothing waits for a tick.
 */
import { callAfter } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { JsonObject } from "../json.ts";

/** One call for an agent to make. */
export interface Handout {
  readonly taskId: string;
  readonly goalId: string;
  readonly description: string;
  readonly tool: string;
  readonly input: JsonObject;
  /** The id that its call is known by. */
  readonly executionId: string;
  readonly dependsOn: readonly string[];
  readonly createdAt: number;
}

/** An agent's word of what came of it. */
export interface Report {
  readonly taskId: string;
  readonly success: boolean;
  /** JSON text of the tool's output. */
  readonly output: string;
  readonly error: string;
  /** Of a failure: NOT_FOUND; empty when it has none. */
  readonly errorCode: string;
}

/** Why an agent could not do it: the code of the failure, and the words. */
export function reasonOf({ error, errorCode }: Pick<Report, "error" | "errorCode">): string {
  return [errorCode, error].filter((words) => words !== "").join(": ") || "the agent gave no reason";
}

/** How an assignment ended: the agent reported and it was recorded, or nothing more is to be heard of it. */
export type Ending = { readonly kind: "recorded" } | { readonly kind: "lost"; readonly reason: string };

export interface Assignment {
  readonly agent: string;
  readonly handout: Handout;
  /** The agent took it. */
  taken(): void;
  /** Records what the agent reports, durably: only then is the report acknowledged. It may say that nothing is known. */
  record(report: Report): Promise<Ending>;
  /** Its call waits for a person, by the approval of this id; from now on it has `waitsMs`. */
  waits(approval: string, waitsMs: number): void;
}

/** Tasks that are with agents: given, fetched, reported. */
export interface Assignments {
  /** Gives a task to its agent and waits for the end. When aborted the agent is told to stop, and `signal.reason` thrown. */
  give(assignment: Assignment, timeoutMs: number, signal: AbortSignal): Promise<Ending>;
  /** The next task for an agent; undefined when there was none for `waitMs` or `signal` was aborted. */
  next(agent: string, waitMs: number, signal: AbortSignal): Promise<Handout | undefined>;
  /** Takes a report. Throws NOT_FOUND when the task is not (or no longer) this agent's. */
  report(agent: string, report: Report): Promise<void>;
  /** Its call waits for a person: its time begins anew when a person's is over. Throws NOT_FOUND when the task is not this agent's. */
  waits(agent: string, taskId: string, approval: string): void;
  /** Nothing more is to be heard of what this agent has. */
  lose(agent: string, reason: string): void;
  /** Answers every waiting agent, from now on at once: the daemon ends. */
  end(): void;
}

interface Open {
  readonly assignment: Assignment;
  /** Its time when no person is asked. */
  readonly timeoutMs: number;
  /** It gets no result within this time from now on: it is lost. */
  within(timeoutMs: number): void;
  fetched: boolean;
  recording: boolean;
  /** The act that follows when a report that is being recorded turns out not to be. */
  otherwise: (() => void) | undefined;
  finish(ending: Ending): void;
}

/** Reports that are remembered after their end, so that one repeated for want of an answer is acknowledged. */
const rememberedMax = 10_000;

/**
 * `cancel` tells an agent to stop a task; it need not succeed. `approvalMs`: how long a person may take to decide about a call;
 * who does not answer is taken by the tools to have said no.
 */
export function openAssignments(
  cancel: (agent: string, taskId: string, reason: string) => void,
  approvalMs: number,
): Assignments {
  const open = new Map<string, Open>();
  const pollers = new Map<string, Set<() => void>>();
  const remembered = new Map<string, string>();
  let ended = false;

  const wake = (agent: string) => {
    for (const one of [...(pollers.get(agent) ?? [])]) one();
  };

  const take = (agent: string): Handout | undefined => {
    const found = [...open.values()].find(({ assignment, fetched }) => assignment.agent === agent && !fetched);
    if (found === undefined) return undefined;
    found.fetched = true;
    found.assignment.taken();
    return found.assignment.handout;
  };

  const lose = (one: Open, reason: string) => unlessRecording(one, () => one.finish({ kind: "lost", reason }));

  return {
    give: (assignment, timeoutMs, signal) =>
      new Promise<Ending>((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const { agent, handout } = assignment;
        const stop = (reason: string) => {
          if (one.fetched) cancel(agent, handout.taskId, reason);
        };
        const late = deadline((ms) => {
          const reason = `no result from agent ${agent} within ${Math.round(ms / 1_000)} s`;
          stop(reason);
          lose(one, reason);
        });
        const abort = () =>
          unlessRecording(one, () => {
            settle(() => reject(signal.reason));
            stop("the goal was cancelled");
          });
        const settle = (act: () => void) => {
          late.callOff();
          signal.removeEventListener("abort", abort);
          open.delete(handout.taskId);
          act();
        };
        const one: Open = {
          ...{ assignment, timeoutMs, within: late.within },
          fetched: false,
          recording: false,
          otherwise: undefined,
          finish: (ending) => settle(() => resolve(ending)),
        };
        late.within(timeoutMs);
        signal.addEventListener("abort", abort, { once: true });
        open.set(handout.taskId, one);
        wake(agent);
      }),
    waits(agent, taskId, approval) {
      const one = open.get(taskId);
      if (one?.assignment.agent !== agent || !one.fetched) throw notWith(agent, taskId, "wait for a person with task");
      const waitsMs = approvalMs + one.timeoutMs;
      one.within(waitsMs);
      one.assignment.waits(approval, waitsMs);
    },
    async next(agent, waitMs, signal) {
      if (signal.aborted) return undefined;
      const at = take(agent);
      if (at !== undefined || ended) return at;
      await untilWoken(pollers, agent, waitMs, signal);
      return signal.aborted ? undefined : take(agent);
    },
    async report(agent, report) {
      const one = open.get(report.taskId);
      if (one?.assignment.agent !== agent || !one.fetched) {
        if (remembered.get(report.taskId) === agent) return;
        throw notWith(agent, report.taskId, "report task");
      }
      if (one.recording) throw new AiosError("ABORTED", `report task ${report.taskId}: it is being recorded already`);
      one.recording = true;
      const ending = await one.assignment.record(report).catch((error) => {
        one.recording = false;
        one.otherwise?.();
        throw error;
      });
      remember(remembered, report.taskId, agent);
      one.finish(ending);
    },
    lose(agent, reason) {
      for (const one of [...open.values()]) if (one.assignment.agent === agent) lose(one, reason);
    },
    end() {
      ended = true;
      for (const agent of [...pollers.keys()]) wake(agent);
    },
  };
}

/** While a report is being recorded its outcome decides: a task that was done is not done again. */
function unlessRecording(one: Open, act: () => void): void {
  if (one.recording) one.otherwise = act;
  else act();
}

/** Calls `late` when a time is over that can be set again. */
function deadline(late: (ms: number) => void): { within(ms: number): void; callOff(): void } {
  let callOff = () => {};
  return {
    within(ms) {
      callOff();
      callOff = callAfter(ms, () => late(ms));
    },
    callOff: () => callOff(),
  };
}

function notWith(agent: string, object: string, act: string): AiosError {
  return new AiosError("NOT_FOUND", { act, object, reason: `it is not with agent ${agent}, or no longer` });
}

/** Resolves when the agent is woken, after `waitMs`, or when the call ends. */
async function untilWoken(
  pollers: Map<string, Set<() => void>>,
  agent: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<void> {
  await new Promise<void>((resolve) => {
    const mine = pollers.get(agent) ?? new Set();
    pollers.set(agent, mine);
    const wake = () => {
      callOff();
      signal.removeEventListener("abort", wake);
      mine.delete(wake);
      resolve();
    };
    const callOff = callAfter(waitMs, wake);
    signal.addEventListener("abort", wake, { once: true });
    mine.add(wake);
  });
}

function remember(remembered: Map<string, string>, taskId: string, agent: string): void {
  remembered.set(taskId, agent);
  const oldest = remembered.keys().next().value;
  if (remembered.size > rememberedMax && oldest !== undefined) remembered.delete(oldest);
}
