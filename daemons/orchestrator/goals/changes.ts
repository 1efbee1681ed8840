import type { Goal } from "../goal.ts";

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
