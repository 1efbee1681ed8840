import type { ChatCompletionChunk } from "openai/resources/chat/completions/completions";
import type { Answer, Finish, Piece, Question, Tokens, ToolCall } from "../question.ts";
import { ProviderFault } from "./fault.ts";
import type { ToolNames } from "./names.ts";
import { type Asking, callsOf, count, errorIn, isObject, malformed, own, tokensOf } from "./wire.ts";

/** OpenAI's words and those of others that speak its protocol. */
const finishes: Readonly<Record<string, Finish>> = {
  ...{ stop: "stop", eos: "stop", eos_token: "stop", end_turn: "stop", stop_sequence: "stop" },
  ...{ length: "length", max_tokens: "length", model_length: "length" },
  ...{ tool_calls: "tool_calls", function_call: "tool_calls", tool_use: "tool_calls" },
  ...{ content_filter: "refused", safety: "refused", sensitive: "refused", recitation: "refused" },
};

function finishOf(reason: unknown, calls: number): Finish {
  const finish = typeof reason === "string" ? own(finishes, reason.toLowerCase()) : undefined;
  if (finish === undefined) throw malformed("no finish_reason that we know");
  return finish === "stop" && calls > 0 ? "tool_calls" : finish;
}

/** Reasoning is paid for as output: some count it in the total alone. */
function countedIn(usage: unknown, question: Question, written: string): Tokens {
  const told = isObject(usage) ? usage : {};
  const [input, output, total] = ["prompt_tokens", "completion_tokens", "total_tokens"].map((key) => count(told[key]));
  const rest = input !== undefined && total !== undefined ? Math.max(total - input, output ?? 0) : output;
  return tokensOf(input, rest, question, written);
}

/** Members in which servers give reasoning that is no part of the answer. */
const reasoning = ["reasoning_content", "reasoning"];

/** All that was written, for who does not count: the reasoning too. */
function writtenOf(message: Record<string, unknown>): string {
  const { content } = message;
  const parts = [
    ...reasoning.map((name) => message[name]),
    typeof content === "string" ? content : content && JSON.stringify(content),
  ];
  return parts.filter((part) => typeof part === "string").join("");
}

/** A content: a text, or a list of parts, of which the reasoning is left out. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (typeof part === "string" ? part : isObject(part) ? partText(part) : "")).join("");
}

function partText({ type = "text", text }: Record<string, unknown>): string {
  return (type === "text" || type === "output_text") && typeof text === "string" ? text : "";
}

function refusalOf(message: Record<string, unknown>): string {
  const { refusal, content } = message;
  const part = Array.isArray(content) ? content.find((one) => isObject(one) && one["type"] === "refusal") : undefined;
  return typeof refusal === "string" ? refusal : isObject(part) ? String(part["refusal"]) : "";
}

export function readCompletion(completion: unknown, { question, names }: Asking): Answer {
  const choices = isObject(completion) ? completion["choices"] : undefined;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const failed = errorIn(completion) ?? errorIn(choice);
  if (failed !== undefined) throw failed;
  const message = isObject(choice) ? choice["message"] : undefined;
  if (!isObject(completion) || !isObject(choice) || !isObject(message)) throw malformed("no choices");
  const asked = Array.isArray(message["tool_calls"]) ? message["tool_calls"].map(openCallOf) : [];
  const refusal = refusalOf(message);
  const text = textOf(message["content"]) || refusal;
  const tokens = countedIn(completion["usage"], question, writtenOf(message) + refusal + JSON.stringify(asked));
  // An answer that came whole and gives no reason has ended.
  const finish = refusal === "" ? finishOf(choice["finish_reason"] || "stop", asked.length) : "refused";
  const toolCalls = toolCallsOf(asked, finish, tokens, names);
  return { text, toolCalls, model: String(completion["model"] ?? ""), finish, ...tokens };
}

/** A call as it comes in: its arguments are pieces of JSON. */
interface OpenCall {
  id: string;
  name: string;
  json: string;
}

function openCallOf(call: unknown): OpenCall {
  const asked = isObject(call) ? call["function"] : undefined;
  if (!isObject(call) || !isObject(asked) || typeof asked["name"] !== "string")
    throw malformed("a tool call without its parts");
  const { name, arguments: input } = asked;
  // Some write the arguments as an object instead of its JSON.
  return { id: String(call["id"] ?? ""), name, json: typeof input === "string" ? input : JSON.stringify(input ?? {}) };
}

function toolCallsOf(calls: readonly OpenCall[], finish: Finish, tokens: Tokens, names: ToolNames): ToolCall[] {
  return callsOf(
    calls.map((call) => ({ ...call, name: names.back(call.name) })),
    finish,
    tokens,
  );
}

export async function* readChunks(
  chunks: AsyncIterable<ChatCompletionChunk>,
  { question, names }: Asking,
  renew: () => void,
): AsyncGenerator<Piece> {
  let [text, written, refusal, model] = ["", "", "", ""];
  let [reason, usage] = [undefined as unknown, undefined as unknown];
  const calls = openCalls();
  for await (const chunk of chunks) {
    if (!isObject(chunk)) throw malformed("a chunk that is none");
    const choice = chunk.choices?.[0];
    const failed = errorIn(chunk) ?? errorIn(choice);
    if (failed !== undefined) throw failed;
    renew();
    model = chunk.model ?? model;
    // In the last event, after the end of the answer, or in each.
    usage = chunk.usage ?? usage;
    if (choice === undefined) continue;
    reason = choice.finish_reason || reason;
    const delta: Record<string, unknown> = isObject(choice.delta) ? choice.delta : {};
    refusal += refusalOf(delta);
    written += writtenOf(delta);
    for (const part of Array.isArray(delta["tool_calls"]) ? delta["tool_calls"] : []) calls.add(part);
    const more = textOf(delta["content"]);
    if (more === "") continue;
    text += more;
    yield { text: more };
  }
  if (reason === undefined) throw new ProviderFault("cut", "its answer broke off");
  const asked = calls.all;
  const tokens = countedIn(usage, question, written + refusal + JSON.stringify(asked));
  const finish = refusal === "" ? finishOf(reason, asked.length) : "refused";
  const toolCalls = toolCallsOf(asked, finish, tokens, names);
  yield { answer: { text: text || refusal, toolCalls, model, finish, ...tokens } };
}

interface CallPart {
  readonly index?: number;
  readonly id?: string;
  readonly function?: { readonly name?: string; readonly arguments?: string };
}

/** Calls as their parts come in. Not everybody counts them: one begins with another id, or with a name after a whole call. */
function openCalls() {
  const all: OpenCall[] = [];
  const byIndex = new Map<number, OpenCall>();
  const begins = (call: OpenCall | undefined, { id = "", function: asked }: CallPart): boolean => {
    if (call === undefined) return true;
    if (id !== "" && call.id !== "") return id !== call.id;
    return Boolean(asked?.name) && call.name !== "" && isWhole(call.json);
  };
  return {
    all,
    add(part: CallPart): void {
      const { index, id = "", function: asked } = part;
      let call =
        (index === undefined ? undefined : byIndex.get(index)) ?? (index === undefined ? all.at(-1) : undefined);
      if (call === undefined || begins(call, part)) {
        call = { id: "", name: "", json: "" };
        all.push(call);
      }
      if (index !== undefined) byIndex.set(index, call);
      call.id ||= id ?? "";
      call.name ||= asked?.name ?? "";
      const input: unknown = asked?.arguments ?? "";
      call.json += typeof input === "string" ? input : JSON.stringify(input);
    },
  };
}

function isWhole(json: string): boolean {
  try {
    return isObject(JSON.parse(json));
  } catch {
    return false;
  }
}
