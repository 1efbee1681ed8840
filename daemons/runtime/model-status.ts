import { ModelStatus } from "#proto/aios/runtime";
import type { ModelState } from "./between/index.ts";

/** A model's state, as the protocol says it. */
export function modelStatus(model: ModelState): ModelStatus {
  const { setup, loaded } = model;
  return ModelStatus.fromPartial({
    modelName: model.name,
    status: model.status,
    loadedAt: model.loadedAt,
    lastUsed: model.lastUsedAt,
    requestCount: model.requests,
    entry: { ...model.entry, sizeBytes: model.sizeBytes },
    level: model.role === "embedding" ? "" : model.role,
    active: model.active,
    memoryBytes: model.memoryBytes + model.gpuMemoryBytes,
    device: model.device,
    origin: model.origin,
    path: model.path,
    pid: model.pid,
    ...(setup && { backend: setup.backend, gpuLayers: setup.gpuLayers, threads: setup.threads }),
    ...(loaded && { contextTokens: loaded.contextTokens, sequences: loaded.sequences, loadMs: loaded.loadMs }),
  });
}
