/** Questions and answers, in no provider's words. */

import type { AnswerCheck } from "#lib/answer-check";

/** A tool as the model sees it. `inputSchema` is a JSON Schema of an object. */
export interface ToolSpec {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: Readonly<Record<string, unknown>>;
}

/** A call that a model asks for. Nothing here carries it out. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

export type Message =
  | { readonly role: "user"; readonly text: string }
  | { readonly role: "assistant"; readonly text: string; readonly toolCalls: readonly ToolCall[] }
  /** A tool's result; `text` is marked as data before it leaves. */
  | {
      readonly role: "tool";
      readonly text: string;
      readonly callId: string;
      readonly tool: string;
      readonly isError: boolean;
    };

export interface Question {
  readonly system: string;
  /** At least one. */
  readonly messages: readonly Message[];
  readonly tools: readonly ToolSpec[];
  /** "auto", "none", "required", or the name of one of `tools`. */
  readonly toolChoice: string;
  readonly jsonSchema: Readonly<Record<string, unknown>> | undefined;
  /** Whether an answer is what `jsonSchema` accepts: no provider takes, or holds itself to, all of a schema. */
  readonly check: AnswerCheck | undefined;
  /** Tokens the answer may have; 0 = as configured for the provider. */
  readonly maxTokens: number;
  /** Undefined: whatever the provider takes for the best; many take nothing else. */
  readonly temperature: number | undefined;
}

/** Why the model stopped. */
export type Finish = "stop" | "length" | "tool_calls" | "refused";

export interface Tokens {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export interface Answer extends Tokens {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly finish: Finish;
  /** The model that answered, as the provider names it. */
  readonly model: string;
}

/** A part of an answer: text as it comes, and at the end the whole. */
export type Piece = { readonly text: string } | { readonly answer: Answer };

/** A provider's protocol: one request, no retries. Throws ProviderFault. */
export interface Wire {
  ask(question: Question, maxTokens: number, key: string | undefined, signal: AbortSignal): AsyncIterable<Piece>;
  /** The same, with the text as it comes. */
  stream(question: Question, maxTokens: number, key: string | undefined, signal: AbortSignal): AsyncIterable<Piece>;
}

/** The caller of a question, and its terms. */
export interface Asked {
  readonly agent: string;
  readonly taskId: string;
  /** A provider's name, or empty for the first that can answer. */
  readonly preferred: string;
  readonly allowFallback: boolean;
  readonly taskType: string;
  /** Wait, instead of being refused, while no provider can be asked. */
  readonly queue: boolean;
}
