import { type Service, service } from "#lib/rpc/service";
import { GoalControlService, type GoalView, type KnownGoal } from "#proto/aios/goal_control";
import { type Goal, isOver } from "../goal.ts";
import type { Goals } from "../goals/index.ts";
import type { Tools } from "../tools.ts";
import { ownGoal, roleOf } from "./callers.ts";
import { explainGoal } from "./explain.ts";
import { viewMessage } from "./messages.ts";

/** aios.orchestrator.GoalControl. */
export function goalControlService(
  goals: Goals,
  tools: Pick<Tools, "executions">,
  known: () => KnownGoal[],
): Service<typeof GoalControlService> {
  return service(GoalControlService, {
    pauseGoal: async ({ id }, { identity }) => {
      await ownGoal(goals, id, identity);
      await goals.pause(id);
      return { success: true, message: `goal ${id} is paused` };
    },
    resumeGoal: async ({ id }, { identity }) => {
      await ownGoal(goals, id, identity);
      await goals.unpause(id);
      return { success: true, message: `goal ${id} goes on` };
    },
    answerGoal: async ({ goalId, answer }, { identity }) => {
      await ownGoal(goals, goalId, identity);
      await goals.answer(goalId, answer, roleOf(identity));
      return { success: true, message: `goal ${goalId} goes on with the answer` };
    },
    explainGoal: async ({ id }, { identity }) => explainGoal(await ownGoal(goals, id, identity), tools),
    listKnownGoals: () => ({ goals: known() }),
    watchGoal: async function* ({ id }, { identity, signal }) {
      yield* watch(goals, await ownGoal(goals, id, identity), signal);
    },
  });
}

/** The goal as it is, then after each change: a slow reader misses steps, never the last state. */
async function* watch(goals: Goals, first: Goal, signal: AbortSignal): AsyncIterable<GoalView> {
  let wake = () => {};
  let changed = true;
  const end = goals.onChange(({ id }) => {
    if (id !== first.id) return;
    changed = true;
    wake();
  });
  signal.addEventListener("abort", () => wake(), { once: true });
  try {
    while (!signal.aborted) {
      if (changed) {
        changed = false;
        const goal = await goals.find(first.id);
        yield viewMessage(goal);
        if (isOver(goal.state)) return;
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    end();
  }
}
