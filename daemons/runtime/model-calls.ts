import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Call } from "#lib/rpc/service";
import type { ModelEntry as EntryMessage, LoadModelRequest, RemoveModelRequest } from "#proto/aios/runtime";
import { ModelEntry, type ModelStatus, ModelVerdict, PullProgress } from "#proto/aios/runtime";
import type { ModelState, PooledWorker } from "./between/index.ts";
import { type Library, openLibrary } from "./files/index.ts";
import { modelStatus } from "./model-status.ts";
import type { LoadWishes, OperatedPool } from "./models/index.ts";

/** The parts behind the calls about models. */
export interface Models {
  readonly library: Library;
  /** Loads a model; `path` empty = where the manifests say. */
  load(model: string, path: string, wishes: LoadWishes, signal: AbortSignal): Promise<ModelState>;
  unload(model: string): Promise<void>;
  /** The GPU's state. */
  gpu(): string;
  /** Files in the models' folders that are no models, with the reason. */
  leftOut(): string[];
  /** The fault of a manifest, or undefined. */
  problem(): string | undefined;
}

/** The calls' models from a pool. */
export function modelsOf(pool: OperatedPool<PooledWorker>, clock: Clock): Models {
  const { catalogue, hashes, load, unload, gpu } = pool;
  return {
    library: openLibrary({ catalogue, hashes, unload, clock }),
    load,
    unload,
    gpu,
    problem: catalogue.problem,
    leftOut: catalogue.leftOut,
  };
}

/** The calls of aios.runtime.AIRuntime that are about models: their files, their manifest, and which are loaded. */
export function modelCalls(models: Models) {
  return {
    loadModel: async (request: LoadModelRequest, { signal }: Call): Promise<ModelStatus> => {
      const { modelName, modelPath, contextLength: contextTokens, gpuLayers, threads } = request;
      requireLeast({ context_length: contextTokens, threads }, 0);
      requireLeast({ gpu_layers: gpuLayers }, -1);
      return modelStatus(await models.load(modelName, modelPath, { contextTokens, gpuLayers, threads }, signal));
    },
    unloadModel: async ({ modelName }: { modelName: string }) => {
      await models.unload(modelName);
      return { success: true, message: `${modelName} is not loaded` };
    },
    async *pullModel({ modelName }: { modelName: string }, { signal }: Call): AsyncGenerator<PullProgress> {
      for await (const step of models.library.pull(modelName, signal)) yield PullProgress.fromPartial(step);
    },
    async *verifyModels(
      { modelName, readAgain }: { modelName: string; readAgain: boolean },
      { signal }: Call,
    ): AsyncGenerator<ModelVerdict> {
      for await (const { model, ...verdict } of models.library.verify(modelName, readAgain, signal)) {
        yield ModelVerdict.fromPartial({ modelName: model, ...verdict });
      }
    },
    addModel: (entry: EntryMessage): EntryMessage =>
      ModelEntry.fromPartial(models.library.add({ ...entry, role: entry.role as "" })),
    removeModel: async ({ modelName, keepFile }: RemoveModelRequest) => ({
      freedBytes: await models.library.remove(modelName, keepFile),
    }),
  };
}

function requireLeast(fields: Readonly<Record<string, number>>, least: number): void {
  for (const [field, value] of Object.entries(fields)) {
    if (value >= least) continue;
    throw new AiosError("INVALID_ARGUMENT", {
      act: "load model with",
      object: field,
      reason: `${value} is less than ${least}`,
      next: "correct the request",
    });
  }
}
