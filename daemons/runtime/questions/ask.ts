import { AiosError } from "#lib/errors";
import { type Message, messagesMax } from "../between/index.ts";
import { type Priority, priorities } from "./queue.ts";

/** The caller of a question, and its urgency. */
export interface Asker {
  /** The caller's name, for fairness: "agent:system", "operator:alice", "core". */
  readonly caller: string;
  readonly priority: Priority;
}

/** A caller's question. Zero and empty mean "as configured" throughout. */
export interface Ask extends Asker {
  readonly model: string;
  readonly level: string;
  readonly system: string;
  /** Said before, oldest first. */
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly prompt: string;
  readonly maxTokens: number;
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  readonly minP?: number | undefined;
  readonly topK?: number | undefined;
  readonly seed?: number | undefined;
  readonly stop: readonly string[];
  readonly jsonSchema: string;
  readonly truncate: boolean;
}

/** Beyond these a parameter is a mistake. */
const maxTokensMax = 1_000_000;
const temperatureMax = 2;
const topKMax = 1_000_000;
const seedMax = 2 ** 32 - 1;
const stopsMax = 16;
const stopLengthMax = 256;
const textsMax = 1_024;

const roles: readonly string[] = ["system", "user", "assistant", "tool"];

/** Throws INVALID_ARGUMENT that names the field which is not what it may be. */
export function checkAsk(ask: Ask): void {
  number("max_tokens", ask.maxTokens, 0, maxTokensMax, { whole: true });
  number("temperature", ask.temperature, 0, temperatureMax);
  number("top_p", ask.topP, 0, 1, { exclusiveMin: true });
  number("min_p", ask.minP, 0, 1);
  number("top_k", ask.topK, 0, topKMax, { whole: true });
  number("seed", ask.seed, 0, seedMax, { whole: true });
  if (ask.stop.length > stopsMax) refuse("stop", `${ask.stop.length} texts`, `at most ${stopsMax}`);
  ask.stop.forEach((stop, at) => {
    if (stop === "") refuse(`stop[${at}]`, '""', "a text");
    if (stop.length > stopLengthMax) {
      refuse(`stop[${at}]`, `${stop.length} characters`, `at most ${stopLengthMax}`);
    }
  });
  text("system_prompt", ask.system);
  text("prompt", ask.prompt);
  ask.messages.forEach(({ role, content }, at) => {
    if (!roles.includes(role)) refuse(`messages[${at}].role`, JSON.stringify(role), `one of ${roles.join(", ")}`);
    if (role === "system" && (at > 0 || ask.system !== "")) {
      refuse(`messages[${at}].role`, '"system"', "for a later message: there is one system prompt, the first");
    }
    text(`messages[${at}].content`, content);
  });
  if (ask.messages.length > messagesMax - 2) {
    refuse("messages", `${ask.messages.length} messages`, `at most ${messagesMax - 2}`);
  }
  const last = ask.messages.at(-1)?.role;
  if (ask.prompt === "" && last !== "user" && last !== "tool") {
    refuse("prompt", '""', "a question, and messages do not end with one");
  }
}

/** Throws INVALID_ARGUMENT for texts that no vectors are made of. */
export function checkTexts(texts: readonly string[]): void {
  if (texts.length === 0 || texts.length > textsMax) refuse("texts", `${texts.length} texts`, `1 to ${textsMax}`);
  texts.forEach((each, at) => {
    if (each === "") refuse(`texts[${at}]`, '""', "a text");
    text(`texts[${at}]`, each);
  });
}

/** A question as one conversation. */
export function conversation({ system, messages, prompt }: Ask): Message[] {
  return [
    ...(system === "" ? [] : [{ role: "system", content: system } as const]),
    ...(messages as readonly Message[]),
    ...(prompt === "" ? [] : [{ role: "user", content: prompt } as const]),
  ];
}

/** The priority of that name; `usual` for an empty one. */
export function priorityOf(name: string, usual: Priority): Priority {
  if (name === "") return usual;
  const priority = priorities.find((each) => each === name);
  return priority ?? refuse("priority", JSON.stringify(name), `one of ${priorities.join(", ")}`);
}

/** A NUL ends a text for much of what a tokenizer is made of, and is nothing a caller means. */
function text(field: string, value: string): void {
  const at = value.indexOf("\0");
  if (at >= 0) refuse(field, `the character at ${at}, NUL,`, "text");
}

interface Bounds {
  readonly whole?: boolean;
  /** The least value itself is excluded. */
  readonly exclusiveMin?: boolean;
}

function number(
  field: string,
  value: number | undefined,
  least: number,
  most: number,
  { whole = false, exclusiveMin = false }: Bounds = {},
): void {
  if (value === undefined) return;
  const fits = (exclusiveMin ? value > least : value >= least) && value <= most && (!whole || Number.isInteger(value));
  const from = exclusiveMin ? `above ${least} and at most ${most}` : `between ${least} and ${most}`;
  if (!fits) refuse(field, String(value), whole ? `a whole number ${from}` : from);
}

function refuse(field: string, value: string, expected: string): never {
  throw new AiosError("INVALID_ARGUMENT", {
    act: "ask with",
    object: field,
    reason: `${value} is not ${expected}`,
    next: "correct the request",
  });
}
