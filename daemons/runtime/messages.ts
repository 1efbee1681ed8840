/** What a worker is started with, as JSON in its first argument. */
export interface WorkerSetup {
  readonly modelPath: string;
  /** Folder of llama-addon.node and ggml's libraries. */
  readonly bindingFolder: string;
  /** Jinja template of the model's chat format; empty = plain text. */
  readonly chatTemplate: string;
  readonly contextTokensMax: number;
}

export interface Generation {
  readonly system: string;
  readonly prompt: string;
  /** At most what the context has left after the prompt. */
  readonly maxTokens: number;
  /** 0 takes the likeliest token each time. */
  readonly temperature: number;
  /** GBNF that the answer must fit; empty = any text. */
  readonly grammar: string;
}

/** What the runtime asks of a worker. */
export type Request =
  | { readonly type: "generate"; readonly id: number; readonly generation: Generation }
  | { readonly type: "abort"; readonly id: number };

/** A loaded model. */
export interface Loaded {
  readonly parameters: number;
  readonly contextTokens: number;
  readonly threads: number;
  readonly loadMs: number;
}

/** How a generation ended: the model was done, maxTokens were reached, or it was told to stop. */
export type Stop = "end" | "length" | "abort";

export interface Generated {
  readonly promptTokens: number;
  /** Tokens of the prompt that were still in the context from the call before. */
  readonly reusedTokens: number;
  readonly answerTokens: number;
  readonly stop: Stop;
}

/** What a worker says. */
export type Reply =
  | { readonly type: "loaded"; readonly loaded: Loaded }
  | { readonly type: "failed"; readonly reason: string }
  | { readonly type: "log"; readonly message: string }
  | { readonly type: "text"; readonly id: number; readonly text: string }
  | { readonly type: "generated"; readonly id: number; readonly generated: Generated }
  | { readonly type: "refused"; readonly id: number; readonly reason: string };
