import type { Clock } from "#lib/clock";
import type { Goal, Task } from "../goal.ts";
import { patiently } from "../patience.ts";
import type { Store } from "./store.ts";

/** Tells those who watch that a goal, or one of its tasks, has changed. */
export interface Changes {
  listen(listener: (goal: Goal) => void): () => void;
  tell(goal: Goal): void;
}

export function openChanges(): Changes {
  const listeners = new Set<(goal: Goal) => void>();
  return {
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    tell(goal) {
      for (const listener of listeners) listener(goal);
    },
  };
}

/** The means of a change. */
interface Ground {
  readonly store: Pick<Store, "putGoal" | "putTask">;
  readonly changes: Changes;
  readonly clock: Clock;
}

/** How long a change waits for a store that is away: until the signal is aborted, or not at all. */
type Patience = AbortSignal | "none";

/** However long the store is away. */
export const forEver: AbortSignal = new AbortController().signal;

/** Changes a goal once its new form is stored, and tells who watches it. */
export async function changeGoal(
  goal: Goal,
  next: Partial<Goal>,
  { store, changes, clock }: Ground,
  patience: Patience = forEver,
): Promise<void> {
  const whole = { ...goal, ...next, updatedAt: clock.now() };
  await put(() => store.putGoal(whole), clock, patience);
  Object.assign(goal, whole);
  changes.tell(goal);
}

/** Changes a task once its new form is stored. Who watches its goal is told by whoever knows what the change is a part of. */
export async function changeTask(
  task: Task,
  next: Partial<Task>,
  { store, clock }: Ground,
  patience: Patience = forEver,
): Promise<void> {
  const whole = { ...task, ...next };
  await put(() => store.putTask(whole), clock, patience);
  Object.assign(task, next);
}

const put = (call: () => Promise<void>, clock: Clock, patience: Patience): Promise<void> =>
  patience === "none" ? call() : patiently(clock, patience, call);
