import type { Goal, GoalState, Task } from "../goal.ts";

/** Where goals and tasks outlive the orchestrator. What resolved is durable. Calls throw UNAVAILABLE while it is away. */
export interface Store {
  /** Stores a goal as it is now, without its tasks. */
  putGoal(goal: Goal): Promise<void>;
  /** Stores a task, or what became of it. */
  putTask(task: Task): Promise<void>;
  /** The goals that are not over, without their tasks, oldest first. */
  unfinished(): Promise<Goal[]>;
  /** The tasks of a goal, in the order of its plan. Throws OUT_OF_RANGE when they are too large to be read. */
  tasks(goalId: string): Promise<Task[]>;
  /** A goal with its tasks; undefined when there is none. */
  find(id: string): Promise<Goal | undefined>;
  /** Goals without their tasks, newest first. `state` empty = all. */
  list(state: GoalState | "", limit: number, from: ListPlace): Promise<GoalPage>;
}

/**
 * The beginning of a page: after this many goals, or at the cursor that the page before gave; a cursor goes before an
 * offset.
 */
export interface ListPlace {
  readonly offset: number;
  readonly cursor: string;
}

export interface GoalPage {
  readonly goals: Goal[];
  readonly total: number;
  /** Empty when there is no more. */
  readonly nextCursor: string;
}
