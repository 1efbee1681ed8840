import { AiosError, messageOf } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import { cut } from "#lib/text";
import type { GoalControlService } from "#proto/aios/goal_control";
import type { RunOver, SessionEvent, ToolAsked, ToolEnded, Turn } from "#proto/aios/sessions";
import { type Context, type Exit, exit } from "../command.ts";
import { fromBytes } from "../out.ts";
import { approve, deny, ticketLines, ticketOf } from "./approvals.ts";
import { planTeller } from "./goal/goal-follow.ts";

type Control = Pick<Client<typeof GoalControlService>, "watchGoal">;

/** The most of a call's input that is shown in a line, characters. */
const inputLengthMax = 120;

/**
 * Shows what comes of something that was said: the calls that are made, the plan of a goal as it is carried out, what the agent
 * says; and asks the person what the agent asks. In JSON each event is a document. `ok` when the agent has answered.
 */
export async function showTurn(events: AsyncIterable<SessionEvent>, control: Control, context: Context): Promise<Exit> {
  const { out } = context;
  const goals = new AbortController();
  const asking = new Set<Promise<void>>();
  let over: RunOver | undefined;
  try {
    for await (const event of events) {
      out.document(event);
      const { happening } = event;
      switch (happening?.$case) {
        case "said":
          if (happening.value.role === "assistant") out.line(happening.value.content);
          break;
        case "asked":
          out.line(callLine(happening.value));
          if (happening.value.tool === "goal.give")
            void tellGoal(happening.value.callId, control, context, goals.signal);
          break;
        case "ended": {
          if (!(happening.value.tool in goalLines)) out.line(endLine(happening.value));
          break;
        }
        case "waits": {
          const decided: Promise<void> = decide(happening.value.approvalId, context).finally(() =>
            asking.delete(decided),
          );
          asking.add(decided);
          break;
        }
        case "trouble":
          out.note(`  ! ${happening.value}`);
          break;
        case "rewound":
          out.note(`  rewound to event ${happening.value}`);
          break;
        case "over":
          over = happening.value;
          break;
      }
    }
  } finally {
    goals.abort();
  }
  await Promise.all(asking);
  return ended(over, context);
}

function ended(over: RunOver | undefined, { out, signal }: Context): Exit {
  if (over?.status === "finished" && over.reason === "completed") return exit.ok;
  if (signal.aborted) return exit.interrupted;
  if (over === undefined) out.note("the machine ended the conversation in the middle");
  else if (over.status === "stalled") out.note(`it goes on by itself when it can: ${over.reason}`);
  else out.note(`${over.status === "errored" ? "it failed" : "it has ended"}: ${over.reason}`);
  return exit.failed;
}

/** The tools of a conversation itself, for people. */
const goalLines: Readonly<Record<string, string>> = {
  "goal.give": "as a goal of the machine",
  "goal.answer": "as the answer to what it asks",
  "goal.cancel": "the goal is let go",
};

/** What came of a call. */
export const endLine = ({ tool, error }: ToolEnded): string => (error === "" ? `  ✓ ${tool}` : `  ✗ ${tool}: ${error}`);

/** A call that is asked for. */
export function callLine({ tool, inputJson }: ToolAsked): string {
  const input = JSON.stringify(fromBytes(inputJson) ?? {});
  if (tool in goalLines) return `  ▶ ${goalLines[tool]}`;
  return `  ▶ ${tool} ${cut(input, inputLengthMax)}`;
}

/** Tells a goal's plan and tasks beside; that it is there takes a moment, and that it cannot be watched is no harm. */
async function tellGoal(id: string, control: Control, { out, clock }: Context, signal: AbortSignal): Promise<void> {
  const tell = planTeller(out);
  while (!signal.aborted) {
    try {
      for await (const view of control.watchGoal({ id }, { signal })) tell(view);
      return;
    } catch (error) {
      if (signal.aborted || !(error instanceof AiosError) || error.code !== "NOT_FOUND") return;
      await clock.sleep(50, signal).catch(() => {});
    }
  }
}

/** Asks the person about a call, or says how it can be decided where nobody can be asked. */
async function decide(id: string, context: Context): Promise<void> {
  const { out, ask } = context;
  try {
    if (ask === undefined || out.json) return out.note(`  it waits for you: aiosctl approvals show ${id}`);
    const one = await ticketOf(context, id);
    for (const line of ticketLines(one)) out.line(`  ${line}`);
    const answer = (await ask("  allow it? [y]es, or no with the reason: "))?.trim() ?? "";
    if (/^y(es)?$/i.test(answer)) await approve(context, one);
    else await deny(context, id, answer.replace(/^no?\b[\s,:]*/i, ""));
  } catch (error) {
    if (!context.signal.aborted) out.note(`  it could not be decided: ${messageOf(error)}`);
  }
}

/** A turn of a session that is over: who said it, and what; calls and what they gave in a line. */
export function turnLines({ role, content }: Turn): string[] {
  const [first = "", ...more] = content.split("\n");
  if (role === "tool") return [`  ${shortened(content)}`];
  if (role === "assistant" && content.startsWith('{"tool_call"')) return [`  ▶ ${shortened(content)}`];
  return ["", `${role === "user" ? "> " : ""}${first}`, ...more];
}

const shortened = (text: string) => cut(text, inputLengthMax);
