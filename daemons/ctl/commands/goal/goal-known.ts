import { GoalControlService, type KnownGoal } from "#proto/aios/goal_control";
import { type Command, exit } from "../../command.ts";

export const goalKnown: Command = {
  name: "goal known",
  summary: "goals that the machine reaches without a model, and how they are said",
  usage: "[WORD]",
  args: [0, 1],
  examples: [
    "aiosctl goal known",
    "aiosctl goal known backup",
    "aiosctl goal known --json | jq -r '.goals[].phrases[]'",
  ],
  async run({ args, out, target }) {
    const client = target().client(GoalControlService, "orchestrator");
    const all = (await client.listKnownGoals({})).goals;
    const [word] = args;
    const goals = word === undefined ? all : all.filter((goal) => speaksOf(goal, word.toLowerCase()));
    // Of all of them one way each; who looks for one sees every way.
    const rows = goals.flatMap(({ phrases, summary }) =>
      phrases.slice(0, word === undefined ? 1 : undefined).map((phrase, at) => [phrase, at === 0 ? summary : ""]),
    );
    if (rows.length === 0) out.line(`none speaks of ${word}`);
    else out.table(["say", "and the machine"], rows);
    out.document({ goals });
    return exit.ok;
  },
};

function speaksOf({ name, summary, phrases }: KnownGoal, word: string): boolean {
  const begins = (text: string) =>
    text
      .toLowerCase()
      .split(/[^a-z0-9]+/)
      .some((one) => one.startsWith(word));
  return [name, summary, ...phrases].some(begins);
}
