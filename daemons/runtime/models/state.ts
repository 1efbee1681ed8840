import type { ModelState, PooledWorker } from "../between/index.ts";
import { hostBytes, type KnownModel, modelSize } from "../files/index.ts";
import type { Resident } from "./resident.ts";
import type { Levels } from "./routing.ts";

/** The state of a model for callers. `expected`: it is being loaded, or going to be without anyone asking. */
export function stateOf(
  { entry, origin, path }: KnownModel,
  resident: Resident<PooledWorker> | undefined,
  problem: string | undefined,
  levels: Levels,
  expected: boolean,
): ModelState {
  const alive = resident !== undefined && resident.status !== "ended" ? resident : undefined;
  const status = alive?.status ?? (problem !== undefined ? `error: ${problem}` : without(path, expected));
  return {
    name: entry.name,
    file: entry.file,
    entry,
    origin,
    path: path ?? "",
    role: roleOf(entry, levels),
    status: status === "ended" ? "loading" : status,
    sizeBytes: sizeOf(path) || entry.sizeBytes,
    loadedAt: alive?.loadedAt ?? 0,
    lastUsedAt: alive?.lastUsedAt ?? 0,
    requests: alive?.requests ?? 0,
    active: alive?.active ?? 0,
    pid: alive?.worker.pid ?? 0,
    memoryBytes: alive === undefined ? 0 : hostBytes(alive.plan.need),
    gpuMemoryBytes: alive?.plan.need.gpuBytes ?? 0,
    device: alive?.plan.device ?? "",
    ...(alive && { setup: { ...alive.plan.setup, threads: alive.threads } }),
    ...(alive?.facts && { loaded: alive.facts }),
  };
}

function without(path: string | undefined, expected: boolean): string {
  if (expected) return "loading";
  return path === undefined ? "absent" : "available";
}

/** The configuration says which models answer at the two levels; the manifest's word counts for the others. */
function roleOf({ file, role }: KnownModel["entry"], { operational, tactical }: Levels): ModelState["role"] {
  if (file === operational.file) return "operational";
  if (file === tactical?.file) return "tactical";
  return role === "embedding" ? role : "";
}

function sizeOf(path: string | undefined): number {
  return path === undefined ? 0 : modelSize(path);
}
