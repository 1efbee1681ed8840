import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { type Patience, patiently } from "#lib/patience";
import type { Settings } from "./settings.ts";
import type { Result, Task, Work } from "./work.ts";

/** The orchestrator, as an agent uses it. Calls throw UNAVAILABLE while it is away. */
export interface Orchestrator {
  register(): Promise<void>;
  /** The wishes of the orchestrator: "register", "shutdown". */
  beat(state: Pulse): Promise<readonly string[]>;
  /** The next task; undefined when there is none for now. */
  next(signal: AbortSignal): Promise<Task | undefined>;
  report(result: Result): Promise<void>;
  /** Tells that a task's call waits for a person. */
  waits(taskId: string, approval: string): Promise<void>;
}

export interface Pulse {
  readonly status: "idle" | "active";
  readonly currentTaskId: string;
}

/** While the orchestrator is away. */
const withOrchestrator: Patience = { firstMs: 50, mostMs: 1_000 };

/** The orchestrator holds a request for a task for seconds: an answer of nothing that is quicker means that it ends. */
const quickAnswerMs = 100;

/** Refusals of a report that another try cannot change: the task is somebody else's, or over. */
const finalCodes: readonly string[] = ["NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED", "INVALID_ARGUMENT"];

interface Life {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Told with each beat whether the agent's periodic work is to be done. */
  readonly onDuty?: (on: boolean) => void;
}

/**
 * Lives until `signal` is aborted: registers, beats, fetches tasks and does them, as many at a time as it may, and reports each
 * until it is acknowledged or refused.
 */
export async function live(
  settings: Settings,
  orchestrator: Orchestrator,
  work: Work,
  { clock, log, signal, onDuty = () => {} }: Life,
): Promise<void> {
  const unreported = new Map<string, AbortController>();

  const untilTaken = (act: string, call: () => Promise<void>, stop: AbortSignal, passing?: Patience["passing"]) => {
    const failed = (error: unknown) => log.debug(`${act} again`, { reason: messageOf(error) });
    const patience = { ...withOrchestrator, ...(passing && { passing }) };
    return patiently(patience, { clock, signal: stop, failed }, call).catch((error: unknown) => {
      if (!stop.aborted) log.warn(`${act} was refused`, { reason: messageOf(error) });
    });
  };
  const register = () => untilTaken("register", () => orchestrator.register(), signal);

  const doTask = async (task: Task) => {
    // Given anew, so the orchestrator has had the report of the try before.
    unreported.get(task.id)?.abort();
    const result = await work.run(task);
    const stop = new AbortController();
    unreported.set(task.id, stop);
    await untilTaken(
      `report of task ${task.id}`,
      () => orchestrator.report(result),
      AbortSignal.any([stop.signal, signal]),
      (error) => !(error instanceof AiosError && finalCodes.includes(error.code)),
    );
    if (unreported.get(task.id) === stop) unreported.delete(task.id);
  };

  const beats = async () => {
    while (!signal.aborted) {
      const [first = ""] = work.running();
      const pulse = { status: first === "" ? "idle" : "active", currentTaskId: first } as const;
      const wishes = await orchestrator.beat(pulse).catch((): string[] => []);
      onDuty(wishes.includes("duties"));
      if (wishes.includes("register")) await register();
      await clock.sleep(settings.heartbeatIntervalMs, signal).catch(() => {});
    }
  };

  const tasks = async () => {
    const busy = new Set<Promise<void>>();
    while (!signal.aborted) {
      if (busy.size >= settings.concurrentTasksMax) await Promise.race(busy);
      const asked = clock.monotonic();
      const task = await orchestrator.next(signal).catch(async (error) => {
        if (error instanceof AiosError && error.code === "FAILED_PRECONDITION") await register();
        return undefined;
      });
      if (task !== undefined) {
        const done = doTask(task);
        // One that waits for a person may do so for hours, and leaves its place to others.
        const place: Promise<void> = Promise.race([done, work.placeFree(task.id)]).finally(() => busy.delete(place));
        busy.add(place);
      } else if (clock.monotonic() - asked < quickAnswerMs) {
        await clock.sleep(quickAnswerMs, signal).catch(() => {});
      }
    }
  };

  await register();
  log.info("registered");
  await Promise.all([beats(), tasks()]);
}
