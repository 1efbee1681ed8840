import type { mainBranch } from "#kernel/branches";
import type { EventRecord, Json } from "#kernel/events";

/** A branch of a session. */
export interface BranchRef {
  readonly session: string;
  readonly branch: string;
}

/** The kernel's own word, by its type alone: its code is loaded with the first conversation. */
const main: typeof mainBranch = "main";

/** A branch by its name; empty = the one that a session begins with. */
export const branchOf = (session: string, name: string): BranchRef => ({ session, branch: name || main });

/** A happening in a session that a person wants to know of. */
export type Happening = { readonly sequence: number; readonly at: number } & (
  | { readonly what: "said"; readonly role: string; readonly text: string }
  | { readonly what: "asked"; readonly callId: string; readonly tool: string; readonly input: Json }
  | {
      readonly what: "ended";
      readonly callId: string;
      readonly tool: string;
      readonly status: string;
      readonly output: Json;
      readonly error: string;
    }
  | { readonly what: "waits"; readonly callId: string; readonly approval: string }
  | { readonly what: "trouble"; readonly reason: string }
  /** To the checkpoint of an event. */
  | { readonly what: "rewound"; readonly to: number }
  | { readonly what: "forked"; readonly branch: string }
  /** Told in a replay alone. */
  | { readonly what: "checkpoint"; readonly id: string }
  | {
      readonly what: "over";
      readonly runId: string;
      readonly status: string;
      readonly reason: string;
      readonly answer: string;
    }
);

/** The event of a checkpoint: the one right after the event that it was made at. */
export const sequenceOf = (madeAt: number): number => madeAt + 1;

/** The happening that an event tells of; undefined for one of no interest to a person. */
export function happeningIn({ sequence, timestamp, kind }: EventRecord): Happening | undefined {
  const moment = { sequence, at: Date.parse(timestamp) };
  switch (kind.type) {
    case "UserMessage":
      return { ...moment, what: "said", role: "user", text: kind.content };
    case "Message":
      return { ...moment, what: "said", role: kind.role, text: kind.content };
    case "ToolCallRequested":
      return { ...moment, what: "asked", callId: kind.call_id, tool: kind.tool_name, input: kind.arguments };
    case "ToolCallCompleted":
      return { ...moment, ...ended(kind.call_id ?? "", kind.tool_name, kind.status, kind.result) };
    case "ToolCallFailed":
      return { ...moment, ...ended(kind.call_id, kind.tool_name, "refused", { error: kind.error }) };
    case "ErrorRaised":
      return { ...moment, what: "trouble", reason: kind.message };
    case "CheckpointRestored":
      return { ...moment, what: "rewound", to: sequenceOf(kind.restored_to_seq) };
    case "BranchCreated":
      return { ...moment, what: "forked", branch: kind.new_branch_id };
    default:
      return undefined;
  }
}

function ended(callId: string, tool: string, status: string, result: Json) {
  const said = (result as { error?: unknown } | null)?.error;
  const error = status === "ok" ? "" : typeof said === "string" ? said : "it failed";
  return { what: "ended", callId, tool, status, output: status === "ok" ? result : null, error } as const;
}
