/**
 * A pool gives loaded workers, and nobody else starts one. This is the line between the two halves of the runtime: who
 * loads models, on what and on how many cores (`models/`), and who asks a worker something (`questions/`).
 */
import type { ModelEntry } from "#lib/model-manifest";

/*
 * Who gives a loaded worker for a model, and what is asked of one for that. The pool decides which models are loaded, with
 * which settings and on how many cores; what a worker is asked once it is loaded is the inference's business.
 */

/** The arithmetic a model is loaded on: the processor, or a GPU through the back end of that name. */
export type Backend = "cpu" | "vulkan" | "cuda";

/** The content of a worker's `load` message. */
export interface WorkerSetup {
  /** The model's name, for messages. */
  readonly model: string;
  readonly modelPath: string;
  /** "embedding": the context gives vectors and generates nothing. */
  readonly kind: "generation" | "embedding";
  /** Folder of llama-addon.node and ggml's libraries for `backend`. */
  readonly bindingFolder: string;
  readonly backend: Backend;
  /** Layers on the GPU; 0 = none. */
  readonly gpuLayers: number;
  /** Jinja template of the model's chat format; empty = plain text. */
  readonly chatTemplate: string;
  /** The token that ends a text which is made a vector, where that is not the model's end of text. */
  readonly endToken?: number | undefined;
  /** Tokens of context for each sequence. The keys' and values' memory is this × `sequences`. */
  readonly contextTokens: number;
  /** Sequences that are decoded together. */
  readonly sequences: number;
  /** Tokens decoded at once. Memory was reckoned with it. */
  readonly batchTokens: number;
  /** Threads to start with: never above the real cores. */
  readonly threads: number;
}

/** A loaded model. */
export interface LoadedFacts {
  readonly parameters: number;
  /** Of each sequence. */
  readonly contextTokens: number;
  readonly sequences: number;
  readonly loadMs: number;
}

/** The pool's view of a worker process, whatever else it can do. */
export interface PooledWorker {
  readonly pid: number;
  /** Resolves when the process has ended, with why. */
  readonly ended: Promise<string>;
  /** Loads the model; once. Rejects with llama.cpp's reason, or when the process ends first. */
  load(setup: WorkerSetup): Promise<LoadedFacts>;
  /**
   * From the next batch on it decodes with `threads`; 0 pauses it between two batches (its calls wait). Resolves when no
   * batch with more threads is in flight, so that others may have the cores.
   */
  setThreads(threads: number): Promise<void>;
  /**
   * Milliseconds per generated token with `threads`, from a few dozen decodes in a sequence that is forgotten afterwards.
   * Called on an idle worker only; a call that comes meanwhile waits.
   */
  measure(threads: number): Promise<number>;
  /** Ends the process at once. */
  stop(): void;
}

/** A worker in use. Its model is not unloaded before `release`, and while leases are held the worker has cores. */
export interface Lease<W> {
  readonly model: string;
  readonly worker: W;
  /** Calls that the worker takes at a time. */
  readonly sequences: number;
  /** To be called once, when the call is answered, failed or abandoned; further calls do nothing. */
  release(): void;
}

/** The model for a request, and what it is asked with when the caller does not say. */
export interface Routed {
  readonly model: string;
  readonly maxTokens: number;
  readonly temperature: number;
}

/** A wanted model: its name or its file's, or "auto" (or nothing) and a level. */
export interface Wanted {
  readonly model: string;
  /** "" = operational. */
  readonly level: string;
}

export interface ModelState {
  readonly name: string;
  readonly file: string;
  readonly entry: ModelEntry;
  /** Where it is known from: the image's manifest, the machine's own, or its file alone. */
  readonly origin: "image" | "machine" | "file";
  /** Of its file; empty without one. */
  readonly path: string;
  readonly role: "operational" | "tactical" | "embedding" | "";
  /** "absent" (no file yet), "available" (a file, not loaded), "loading", "ready", "unloading", or "error: …". */
  readonly status: string;
  readonly sizeBytes: number;
  /** Milliseconds since the epoch; 0 = not loaded, not yet. */
  readonly loadedAt: number;
  readonly lastUsedAt: number;
  /** Leases given so far. */
  readonly requests: number;
  /** Leases held now. */
  readonly active: number;
  /** Process of the worker, 0 when there is none. */
  readonly pid: number;
  /** Bytes that the model was reckoned to need; 0 when it is not loaded. */
  readonly memoryBytes: number;
  readonly gpuMemoryBytes: number;
  /** Name of the GPU that it is loaded on; empty on the processor. */
  readonly device: string;
  readonly setup?: WorkerSetup;
  readonly loaded?: LoadedFacts;
}

export interface ModelPool<W extends PooledWorker> {
  /** Resolves when the operational model has answered its test prompt for the first time. */
  readonly ready: Promise<void>;
  /**
   * The model for a request. NOT_FOUND: no such model. INVALID_ARGUMENT: no level of this name. FAILED_PRECONDITION: the
   * level has no model on this machine. Loads nothing.
   */
  route(wanted: Wanted): Routed;
  /** The model that makes vectors. FAILED_PRECONDITION when the machine has none. */
  embedder(): string;
  /**
   * A worker with `model` loaded and cores to run on: at once when it is, else after loading it (and unloading others).
   * UNAVAILABLE with the reason while a model that is kept loaded is not there; FAILED_PRECONDITION for a file that is no
   * model; RESOURCE_EXHAUSTED with the figures when its memory cannot be had. Rejects with the signal's reason when that
   * is aborted first; the loading goes on.
   */
  acquire(model: string, signal: AbortSignal): Promise<Lease<W>>;
  models(): ModelState[];
  stop(): void;
}
