import { AiosError } from "#lib/errors";
import { isSchema, readSchema, type Schema } from "#lib/json-schema";
import { beginning } from "#lib/text";
import type { Message, Question, ToolCall, ToolSpec } from "./question.ts";

/** A question as it comes over the wire; the service translates it into this. */
interface RawQuestion {
  readonly prompt: string;
  readonly system: string;
  readonly messages: readonly {
    readonly role: string;
    readonly text: string;
    readonly toolCalls: readonly { readonly id: string; readonly name: string; readonly argumentsJson: Uint8Array }[];
    readonly toolCallId: string;
    readonly toolName: string;
    readonly isError: boolean;
  }[];
  readonly tools: readonly { readonly name: string; readonly description: string; readonly inputSchema: Uint8Array }[];
  readonly toolChoice: string;
  readonly jsonSchema: string;
  readonly maxTokens: number;
  readonly temperature?: number | undefined;
}

const messagesMax = 1_000;
const toolsMax = 256;
/** Characters: a longer one takes seconds to compile, in which nobody else is answered. */
const schemaLengthMax = 131_072;

/** Throws INVALID_ARGUMENT, naming the field and what was expected. */
export async function readQuestion(raw: RawQuestion): Promise<Question> {
  const { system, maxTokens, temperature } = raw;
  const conversation = raw.messages.map(messageOf);
  const messages: Message[] = raw.prompt === "" ? conversation : [...conversation, { role: "user", text: raw.prompt }];
  if (messages.length === 0) throw wrong("prompt", "it is empty, and there are no messages", "say what is asked");
  if (messages.length > messagesMax) throw wrong("messages", `more than ${messagesMax}`, "send fewer");
  if (raw.tools.length > toolsMax) throw wrong("tools", `more than ${toolsMax}`, "offer fewer");
  if (maxTokens < 0) throw wrong("max_tokens", "less than 0", "give 0 for what is configured");
  if (temperature !== undefined && !(temperature >= 0 && temperature <= 2))
    throw wrong("temperature", "not from 0 to 2", "give one that is");
  const tools = raw.tools.map(toolOf);
  const schema = raw.jsonSchema;
  return {
    ...{ system, messages, tools, maxTokens, temperature, toolChoice: choiceOf(raw.toolChoice, tools) },
    jsonSchema: schema === "" ? undefined : schemaOf(schema),
    check: schema === "" ? undefined : await (await import("./providers/sdk/answers.ts")).answerCheck(schema),
  };
}

function messageOf(raw: RawQuestion["messages"][number], at: number): Message {
  const { role, text, toolCallId: callId, toolName: tool, isError } = raw;
  if (role === "user") return { role, text };
  if (role === "assistant") return { role, text, toolCalls: raw.toolCalls.map(callOf) };
  if (role === "tool" && callId !== "") return { role, text, callId, tool, isError };
  if (role === "tool") throw wrong(`messages[${at}]`, "no tool_call_id", "say which call it answers");
  throw wrong(`messages[${at}]`, `the role is ${JSON.stringify(beginning(role, 32))}`, "use user, assistant or tool");
}

function callOf({ id, name, argumentsJson }: { id: string; name: string; argumentsJson: Uint8Array }): ToolCall {
  return { id, name, arguments: objectOf(textOf(argumentsJson), `the arguments of ${name}`) };
}

function toolOf({ name, description, inputSchema }: RawQuestion["tools"][number], at: number): ToolSpec {
  if (name === "") throw wrong(`tools[${at}]`, "no name", "give it one");
  const schema = textOf(inputSchema);
  return {
    name,
    description,
    inputSchema: schema === "" ? { type: "object" } : objectOf(schema, `the schema of ${name}`),
  };
}

function choiceOf(choice: string, tools: readonly ToolSpec[]): string {
  if (choice === "") return "auto";
  if (["auto", "none", "required"].includes(choice) || tools.some(({ name }) => name === choice)) return choice;
  throw wrong(
    "tool_choice",
    `no tool ${beginning(choice, 64)} is offered`,
    "use auto, none, required or an offered tool",
  );
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");

function objectOf(text: string, what: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw wrong(what, "not a JSON object", "send one");
}

function schemaOf(text: string): Schema {
  if (text.length > schemaLengthMax)
    throw wrong("json_schema", `${text.length} characters, more than ${schemaLengthMax}`, "send a smaller one");
  objectOf(text, "json_schema");
  const schema = readSchema(text);
  if (isSchema(schema)) return schema;
  throw wrong("json_schema", "no schema of an answer", "send one");
}

function wrong(object: string, reason: string, next: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", { act: "ask", object, reason, next });
}
