import { readFileSync } from "node:fs";
import type { ModelState } from "../between/index.ts";
import type { Family, Sample } from "./metrics.ts";
import type { QueueStatus } from "./queue.ts";

/** Gauges of models and queues at this moment. */
export function gauges(models: readonly ModelState[], queues: ReadonlyMap<string, QueueStatus>): Family[] {
  const loaded = models.filter((model) => model.loaded !== undefined);
  const ofModels = (value: (model: ModelState) => number): Sample[] =>
    loaded.map((model) => ({ labels: { model: model.name }, value: value(model) }));
  const family = (name: string, help: string, samples: readonly Sample[]): Family => ({
    name: `aios_runtime_${name}`,
    type: "gauge",
    help,
    samples,
  });
  return [
    family(
      "model_ready",
      "1 for a model that answers.",
      models.map(({ name, status }) => ({ labels: { model: name }, value: Number(status === "ready") })),
    ),
    family(
      "model_load_seconds",
      "Time that loading took.",
      ofModels(({ loaded }) => (loaded?.loadMs ?? 0) / 1000),
    ),
    family(
      "model_active_calls",
      "Calls that use the model now.",
      ofModels(({ active }) => active),
    ),
    family(
      "model_memory_bytes",
      "Memory that the model was reckoned to need.",
      ofModels(({ memoryBytes }) => memoryBytes),
    ),
    family(
      "worker_resident_bytes",
      "Memory of the worker's process.",
      ofModels(({ pid }) => residentBytes(pid)),
    ),
    family(
      "queue_length",
      "Calls that wait for their turn.",
      [...queues].flatMap(([model, { waiting }]) =>
        Object.entries(waiting).map(([priority, value]) => ({ labels: { model, priority }, value })),
      ),
    ),
    {
      ...family(
        "queue_refused_total",
        "Calls refused since the queue was full.",
        [...queues].map(([model, { refused }]) => ({ labels: { model }, value: refused })),
      ),
      type: "counter",
    },
  ];
}

/** Resident memory of a process; 0 when it has just ended. */
function residentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
