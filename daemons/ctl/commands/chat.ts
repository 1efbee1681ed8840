import { beginning } from "#lib/text";
import { GoalControlService } from "#proto/aios/goal_control";
import { type Session, SessionsService } from "#proto/aios/sessions";
import { type Command, type Context, type Exit, exit, text, UsageError, wholeNumber } from "../command.ts";
import { moment } from "../words.ts";
import { branchOption } from "./chat-branches.ts";
import { showTurn, turnLines } from "./chat-turn.ts";

const client = (context: Context) => context.target().client(SessionsService, "orchestrator");

export const chat: Command = {
  name: "chat",
  summary: "talk with an agent: it looks for you, and asks you before it changes anything",
  usage: "[MESSAGE] [--session ID] [--branch BRANCH] [--agent NAME] [--level LEVEL]",
  args: [0, 1],
  options: {
    session: { type: "string", short: "s", value: "ID", about: "go on with this session; else a new one is opened" },
    branch: branchOption('a branch of that session, by "chat fork" (main)'),
    agent: { type: "string", short: "a", value: "NAME", about: "who is spoken with (task), in a new session" },
    level: {
      type: "string",
      short: "l",
      value: "LEVEL",
      about: "the least that is asked in a new session: operational, tactical, strategic (the cheapest there is)",
    },
  },
  examples: [
    "aiosctl chat",
    'aiosctl chat "report disk usage to /var/lib/aios/reports/disk.txt"',
    'aiosctl chat --session 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 "and the memory?"',
    'aiosctl chat "why is the disk full?" --level strategic --json | jq -r .happening.value.answer',
  ],
  async run(context) {
    const session = await sessionFor(context);
    const { agent } = session;
    const [given] = context.args;
    // What a run that is open still tells is told first.
    if (session.state === "working")
      await turn(context, session, client(context).followSession(after(session), forever));
    const message = given ?? (context.ask === undefined ? (await context.input()).trim() : undefined);
    if (message === "") throw new UsageError("nothing was said: give a message, or run it at a terminal");
    if (message !== undefined) return await say(context, session, message);
    context.out.line(`the ${agent} agent of ${context.target().name} listens; an empty line or Ctrl-D ends it`);
    return await converse(context, session);
  },
};

/** A stream of what comes of something ends by itself. */
const forever = {};

const after = ({ id, branch, head }: Session) => ({ sessionId: id, branch, afterSequence: head });

async function sessionFor(context: Context): Promise<Session> {
  const id = text(context, "session");
  const agent = text(context, "agent") ?? "";
  const level = text(context, "level") ?? "";
  const branch = text(context, "branch") ?? "";
  if (id === undefined) {
    if (branch !== "") throw new UsageError("--branch is of a session that is there: give --session too");
    const name = beginning(context.args[0] ?? "", 100).toWellFormed();
    const opened = await client(context).openSession({ agent, level, name });
    context.out.note(`session ${opened.id}; go on with it by --session`);
    return opened;
  }
  if (agent !== "" || level !== "")
    throw new UsageError("--agent and --level are for a new session, not with --session");
  return await client(context).getSession({ id, branch });
}

/** One message and one answer after the other, until the person ends it. */
async function converse(context: Context, session: Session): Promise<Exit> {
  let last: Exit = exit.ok;
  for (;;) {
    const message = (await context.ask?.("\n> "))?.trim();
    context.signal.throwIfAborted();
    if (message === undefined || message === "") return last;
    last = await say(context, session, message);
  }
}

async function say(context: Context, session: Session, message: string): Promise<Exit> {
  const { id: sessionId, branch } = session;
  const request = { sessionId, branch, text: message, runId: "" };
  return await turn(context, session, client(context).say(request, forever));
}

/** Shows what comes of it. A person who presses Ctrl-C wants it stopped, not just to look away. */
async function turn(context: Context, { id, branch }: Session, events: Parameters<typeof showTurn>[0]): Promise<Exit> {
  const stop = () => {
    client(context)
      .interruptSession({ id, branch })
      .catch(() => {});
  };
  context.signal.addEventListener("abort", stop, { once: true });
  try {
    const control = context.target().client(GoalControlService, "orchestrator");
    const end = await showTurn(events, control, context);
    if (context.signal.aborted) context.out.note(`interrupted; go on with --session ${id}`);
    return context.signal.aborted ? exit.interrupted : end;
  } finally {
    context.signal.removeEventListener("abort", stop);
  }
}

export const chatList: Command = {
  name: "chat list",
  summary: "the sessions there are, newest first",
  usage: "[--limit N] [--cursor CURSOR]",
  args: [0, 0],
  options: {
    limit: { type: "string", short: "n", value: "N", about: "so many (20)" },
    cursor: { type: "string", value: "CURSOR", about: "the page after the one that gave this (nextCursor in JSON)" },
  },
  examples: ["aiosctl chat list", "aiosctl chat list --json | jq -r .sessions[].id"],
  async run(context) {
    const limit = wholeNumber(context, "limit", 1, 100) ?? 20;
    const page = await client(context).listSessions({ limit, cursor: text(context, "cursor") ?? "" });
    const rows = page.sessions.map(({ id, createdAt, agent, owner, state, name }) => {
      return [id, moment(createdAt), agent, owner, state, name];
    });
    if (rows.length === 0) context.out.line('there is none; "aiosctl chat" opens one');
    else context.out.table(["session", "opened (utc)", "agent", "by", "state", "about"], rows);
    context.out.document(page);
    return exit.ok;
  },
};

export const chatShow: Command = {
  name: "chat show",
  summary: "what was said in a session, as far as the agent has it in mind",
  usage: "ID [--branch BRANCH]",
  args: [1, 1],
  options: { branch: branchOption("the branch that is shown (main)") },
  examples: ["aiosctl chat show 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11"],
  async run(context) {
    const { out } = context;
    const session = await client(context).getSession({
      id: context.args[0] ?? "",
      branch: text(context, "branch") ?? "",
    });
    const { agent, owner, createdAt, state, branches, turns, tokensLeft, costLeftUsd, callsLeft } = session;
    out.line(`with the ${agent} agent, opened by ${owner} at ${moment(createdAt)} UTC, ${state}`);
    out.line(`left: ${tokensLeft} tokens, ${costLeftUsd.toFixed(2)} US dollars, ${callsLeft} calls`);
    if (branches.length > 1) out.line(`branches: ${branches.join(", ")}`);
    for (const one of turns) for (const line of turnLines(one)) out.line(line);
    out.document(session);
    return exit.ok;
  },
};

export const chatClose: Command = {
  name: "chat close",
  summary: "end a session: nothing more can be said in it, on any branch",
  usage: "ID",
  args: [1, 1],
  examples: ["aiosctl chat close 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11"],
  async run(context) {
    const { success, message } = await client(context).closeSession({ id: context.args[0] ?? "", branch: "" });
    context.out.line(message);
    context.out.document({ success, message });
    return success ? exit.ok : exit.failed;
  },
};
