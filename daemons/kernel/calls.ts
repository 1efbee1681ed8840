import { hash } from "node:crypto";
import { uuidOf } from "#lib/ids";
import { beginning } from "#lib/text";
import type { Json } from "./events.ts";
import type { ToolCall } from "./shapes.ts";

/** Where a call was asked for. Run ids are chosen by whoever asks, and may be the same on other branches and in other sessions. */
interface CallPlace {
  readonly session: string;
  readonly branch: string;
  readonly run: string;
  readonly step: number;
  readonly directive: number;
}

/**
 * The id of a call: the same whenever the same directive of the same step is looked at, and a UUID (version 8), so that it can be
 * the id of the execution too. Models repeat their own ids; those stay in the journal only.
 */
export function callId(place: CallPlace): string {
  const { session, branch, run, step, directive } = place;
  return uuidOf(session, branch, run, step, directive);
}

/** The key of a call for the loop guard: the tool and its input, whatever the order of the input's keys. */
export function callKey({ tool_name, input }: Pick<ToolCall, "tool_name" | "input">): string {
  return hash("sha256", JSON.stringify([tool_name, sortKeys(input)]), "hex").slice(0, 32);
}

function sortKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value as { readonly [key: string]: Json });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sortKeys(inner)]));
}

/** A result as the journal keeps it: whole, or its beginning when it is longer than `lengthMax` characters. */
export function shortenResult(result: Json, lengthMax: number): Json {
  const text = JSON.stringify(result);
  if (text.length <= lengthMax) return result;
  return { truncated: true, length: text.length, begins: beginning(text, lengthMax).toWellFormed() };
}
