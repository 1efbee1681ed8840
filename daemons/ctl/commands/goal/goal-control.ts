import { GoalControlService } from "#proto/aios/goal_control";
import { type Command, type Context, exit } from "../../command.ts";
import { followed } from "./goal-follow.ts";

const client = (context: Context) => context.target().client(GoalControlService, "orchestrator");

const followOption = {
  follow: { type: "boolean", short: "f", about: "then follow it to its end" },
} as const;

export const goalPause: Command = {
  name: "goal pause",
  summary: "begin nothing more of a goal; what runs is ended in order",
  usage: "ID",
  args: [1, 1],
  examples: ["aiosctl goal pause 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11"],
  run: (context) => report(context, (id) => client(context).pauseGoal({ id }, { timeoutMs: pauseTimeoutMs })),
};

export const goalResume: Command = {
  name: "goal resume",
  summary: "go on with a paused goal",
  usage: "ID [--follow]",
  args: [1, 1],
  options: followOption,
  examples: ["aiosctl goal resume 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 --follow"],
  run: (context) => report(context, (id) => client(context).resumeGoal({ id })),
};

export const goalAnswer: Command = {
  name: "goal answer",
  summary: "answer what a goal asks you",
  usage: "ID ANSWER [--follow]",
  args: [2, 2],
  options: followOption,
  examples: ['aiosctl goal answer 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 "port 8081" --follow'],
  run: (context) => report(context, (goalId) => client(context).answerGoal({ goalId, answer: context.args[1] ?? "" })),
};

/** Running tasks are waited for, as long as the slowest tool takes. */
const pauseTimeoutMs = 660_000;

type Told = { readonly success: boolean; readonly message: string };

async function report(context: Context, act: (id: string) => Promise<Told>): Promise<0 | 1> {
  const id = context.args[0] ?? "";
  const { success, message } = await act(id);
  if (context.values["follow"] === true && success) {
    return (await followed(id, context, true)) === exit.ok ? exit.ok : exit.failed;
  }
  context.out.line(message || (success ? "done" : "not done"));
  context.out.document({ success, message });
  return success ? exit.ok : exit.failed;
}
