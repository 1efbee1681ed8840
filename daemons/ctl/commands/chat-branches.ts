import { type Session, type SessionEvent, SessionsService } from "#proto/aios/sessions";
import { type Command, type Context, exit, type Option, text, UsageError, wholeNumber } from "../command.ts";
import { callLine, endLine } from "./chat-turn.ts";

/** A session's branch; `about` says what it is there for. */
export const branchOption = (about: string): Option => ({ type: "string", short: "b", value: "BRANCH", about });

const client = (context: Context) => context.target().client(SessionsService, "orchestrator");

const place = (context: Context) => ({ sessionId: context.args[0] ?? "", branch: text(context, "branch") ?? "" });

const someId = "0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11";

export const chatFork: Command = {
  name: "chat fork",
  summary: "go on from an event of a session on a branch of its own; the session stays as it is",
  usage: "ID [--at EVENT] [--name NAME] [--branch BRANCH]",
  args: [1, 1],
  options: {
    at: { type: "string", value: "EVENT", about: 'its last event that the branch has, by "chat replay" (the newest)' },
    name: { type: "string", short: "n", value: "NAME", about: "of the new branch (fork-1, fork-2 …)" },
    branch: branchOption("the branch to fork off (main)"),
  },
  examples: [
    `aiosctl chat fork ${someId}`,
    `aiosctl chat fork ${someId} --at 37 --name careful`,
    `aiosctl chat fork ${someId} --json | jq -r .branch`,
  ],
  async run(context) {
    const atSequence = event(context, "at") ?? 0;
    const made = await client(context).forkSession({
      ...place(context),
      atSequence,
      name: text(context, "name") ?? "",
    });
    const { id, branch, head } = made;
    context.out.line(`branch ${branch} is made, as it stood at event ${head}; what was done stays done`);
    context.out.line(`speak on it: aiosctl chat --session ${id} --branch ${branch}`);
    context.out.document(made);
    return exit.ok;
  },
};

export const chatRewind: Command = {
  name: "chat rewind",
  summary: "have the agent forget what came after a checkpoint; what was done stays done",
  usage: "ID EVENT [--branch BRANCH]",
  args: [2, 2],
  options: { branch: branchOption("the branch to rewind (main)") },
  examples: [`aiosctl chat rewind ${someId} 37`, `aiosctl chat rewind ${someId} 37 --branch careful --json`],
  async run(context) {
    const toSequence = numberOf("EVENT", context.args[1] ?? "");
    const back = await client(context).rewindSession({ ...place(context), toSequence });
    context.out.line(`the agent has in mind what it had at event ${toSequence}: ${turnCount(back)}`);
    context.out.document(back);
    return exit.ok;
  },
};

export const chatReplay: Command = {
  name: "chat replay",
  summary: "what has happened in a session, event by event, and how it stood then; nothing is done again",
  usage: "ID [--to EVENT] [--branch BRANCH]",
  args: [1, 1],
  options: {
    to: { type: "string", value: "EVENT", about: "the last event that is shown (the newest)" },
    branch: branchOption("the branch to replay (main)"),
  },
  examples: [
    `aiosctl chat replay ${someId}`,
    `aiosctl chat replay ${someId} --to 37`,
    `aiosctl chat replay ${someId} --json | jq -c 'select(.part["$case"] == "state").part.value.turns'`,
  ],
  async run(context) {
    const { out } = context;
    const toSequence = event(context, "to") ?? 0;
    for await (const one of client(context).replaySession({ ...place(context), toSequence }, {})) {
      out.document(one);
      const { part } = one;
      if (part?.$case === "event") for (const line of numbered(part.value)) out.line(line);
      if (part?.$case === "state") out.line(stateLine(part.value));
    }
    return exit.ok;
  },
};

const eventMax = Number.MAX_SAFE_INTEGER;
const event = (context: Context, option: string) => wholeNumber(context, option, 1, eventMax);

function numberOf(what: string, given: string): number {
  const value = Number(given);
  if (/^\d+$/.test(given) && value >= 1 && value <= eventMax) return value;
  throw new UsageError(`${what} ${given}: expected a whole number from 1 on, as "aiosctl chat replay" shows it`);
}

const turnCount = ({ turns }: Session) => `${turns.length} ${turns.length === 1 ? "turn" : "turns"}`;

function stateLine(state: Session): string {
  const { head, branch, tokensLeft, costLeftUsd, callsLeft } = state;
  const left = `${tokensLeft} tokens, ${costLeftUsd.toFixed(2)} US dollars and ${callsLeft} calls left`;
  return `at event ${head} of branch ${branch}, ${state.state}: ${turnCount(state)} in mind, ${left}`;
}

/** An event with its number before its first line. */
function numbered({ sequence, happening }: SessionEvent): string[] {
  return linesOf(happening).map((line, at) => `${(at === 0 ? String(sequence) : "").padStart(5)}  ${line}`);
}

function linesOf(happening: SessionEvent["happening"]): string[] {
  switch (happening?.$case) {
    case "said": {
      const { role, content } = happening.value;
      return `${role === "user" ? "> " : ""}${content}`.split("\n");
    }
    case "asked":
      return [callLine(happening.value)];
    case "ended":
      return [endLine(happening.value)];
    case "trouble":
      return [`  ! ${happening.value}`];
    case "rewound":
      return [`  ⟲ rewound to event ${happening.value}`];
    case "forked":
      return [`  ⑂ branch ${happening.value} is forked off`];
    case "checkpoint":
      return ["  · checkpoint"];
    default:
      return [];
  }
}
