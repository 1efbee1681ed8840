import type { Code } from "#lib/errors";
import type { LoadedFacts, WorkerSetup } from "./pool.ts";

/** One message of a conversation. */
export interface Message {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
}

/** A conversation that ends where the answer begins. */
export interface Chat {
  /** Oldest first; a system message is the first. */
  readonly messages: readonly Message[];
  /** Leave out the oldest of a conversation that does not fit the context, instead of refusing it. */
  readonly truncate: boolean;
}

/** How tokens are chosen. */
export interface Sampling {
  /** 0 takes the likeliest token each time. */
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly seed: number;
}

export interface Generation extends Chat, Sampling {
  /** At most what the context has left after the prompt. */
  readonly maxTokens: number;
  /** GBNF that the answer must fit; empty = any text. */
  readonly grammar: string;
  /** Texts that end the answer and are not part of it. */
  readonly stop: readonly string[];
}

export interface Embedding {
  readonly texts: readonly string[];
  /** Which of the caller's texts the first of these is. */
  readonly from: number;
  /** Leave out the end of a text that is too long, instead of refusing it. */
  readonly truncate: boolean;
}

/** The runtime's requests to a worker. `load` is the first and comes once. */
export type Request =
  | { readonly type: "load"; readonly setup: WorkerSetup }
  | { readonly type: "generate"; readonly id: number; readonly generation: Generation }
  | ({ readonly type: "embed"; readonly id: number } & Embedding)
  | { readonly type: "count"; readonly id: number; readonly chat: Chat }
  | { readonly type: "threads"; readonly id: number; readonly threads: number }
  | { readonly type: "measure"; readonly id: number; readonly threads: number }
  | { readonly type: "abort"; readonly id: number }
  /** The caller does not keep up: generate nothing more until `resume`. */
  | { readonly type: "pause"; readonly id: number }
  | { readonly type: "resume"; readonly id: number };

/** How a generation ended: the model was done, a stop text came, maxTokens were reached, or it was told to stop. */
export type Stop = "end" | "stop" | "length" | "abort";

export interface Generated {
  readonly promptTokens: number;
  /** Tokens of the prompt whose keys and values were there already. */
  readonly reusedTokens: number;
  readonly answerTokens: number;
  /** Tokens left out of the prompt by `truncate`. */
  readonly droppedTokens: number;
  readonly stop: Stop;
  /** Reading the prompt, until the first token was chosen. */
  readonly promptMs: number;
  /** From the first token to the last. */
  readonly answerMs: number;
}

export interface Embedded {
  /** One vector of unit length for each text. */
  readonly vectors: readonly (readonly number[])[];
  readonly tokens: number;
}

export interface Counted {
  readonly tokens: number;
  readonly contextTokens: number;
}

/** A worker's messages. */
export type Reply =
  | { readonly type: "loaded"; readonly loaded: LoadedFacts }
  | { readonly type: "failed"; readonly reason: string }
  | { readonly type: "log"; readonly message: string }
  | { readonly type: "text"; readonly id: number; readonly text: string }
  /** The request is done; `value` is what it asked for. */
  | { readonly type: "done"; readonly id: number; readonly value: unknown }
  | { readonly type: "refused"; readonly id: number; readonly code: Code; readonly reason: string };
