import { GoalControlService } from "#proto/aios/goal_control";
import { type Command, exit } from "../../command.ts";

export const goalExplain: Command = {
  name: "goal explain",
  summary: "why a goal is done as it is, what else there was, and what was done",
  usage: "ID",
  args: [1, 1],
  examples: [
    "aiosctl goal explain 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11",
    "aiosctl goal explain 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 --json | jq '.decisions[].options'",
  ],
  async run(context) {
    const client = context.target().client(GoalControlService, "orchestrator");
    const explanation = await client.explainGoal({ id: context.args[0] ?? "" });
    for (const line of explanation.text.split("\n")) context.out.line(line);
    context.out.document(explanation);
    return exit.ok;
  },
};
