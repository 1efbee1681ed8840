/**
 * Admissions are one at a time. What is short is made by unloading the least recently used model that nobody uses, then
 * by fewer sequences, and then there is RESOURCE_EXHAUSTED with the figures.
 *
 * A worker's memory limit counts Node's reservations. RLIMIT_DATA counts address space: a Node that does nothing has
 * 570 MB of it. The limit is one and a half times what was reckoned and 2 GB; the worker is also the first that the
 * kernel ends when memory runs out.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import type { PooledWorker } from "../between/index.ts";
import { hostBytes, type KnownModel, type ModelHeader } from "../files/index.ts";
import { type Cores, type MachineMemory, reserveBytes } from "../machine/index.ts";
import {
  type AdmissionOptions,
  type Checked,
  checkModel,
  type LoadWishes,
  modelFingerprint,
  type Way,
} from "./admission.ts";
import { openResident, type Resident } from "./resident.ts";

export interface LoaderOptions<W> extends Omit<AdmissionOptions, "gpuReclaimableBytes"> {
  /** Starts a worker process for a model of this name in this file; it is then told to load it. */
  readonly start: (model: string, path: string) => W;
  /** Proves that a loaded model is of use, before it is given to anyone. */
  readonly prove: (worker: W, model: string) => Promise<void>;
  /** Limits a process' memory to about `bytes`. Best effort. */
  readonly limitMemory: (pid: number, bytes: number) => void;
  readonly memory: () => MachineMemory;
  readonly cores: Cores;
  /** Threads to begin with, and at most. */
  readonly threads: (header: ModelHeader) => { first: number; most: number };
  readonly clock: Clock;
  readonly log: Log;
}

interface Loader<W> {
  /** Throws what {@link load} would throw before it starts anything. */
  check(known: KnownModel, wishes: LoadWishes, signal: AbortSignal): Promise<unknown>;
  /** By model name: those that are being loaded, are ready, or are being unloaded. */
  readonly residents: ReadonlyMap<string, Resident<W>>;
  /**
   * Loads a model and resolves when it is ready. Models that nobody uses are unloaded to make room, the least recently used
   * first, but for those that `isKept`. RESOURCE_EXHAUSTED with the figures when that does not help.
   */
  load(known: KnownModel, wishes: LoadWishes, signal: AbortSignal): Promise<Resident<W>>;
}

/**
 * A worker may take this much more than was reckoned before it is refused more. The second figure is for Node, which reserves
 * 600 MB of address space that it never touches, and as much again when it is busy.
 */
const slackShare = 1.5;
const slackBytes = 2_000_000_000;

export function openLoader<W extends PooledWorker>(
  options: LoaderOptions<W>,
  isKept: (model: string) => boolean,
): Loader<W> {
  const { clock, log } = options;
  const residents = new Map<string, Resident<W>>();
  let admitting: Promise<unknown> = Promise.resolve();

  /** One admission at a time: two models that are loaded at once must not be promised the same memory. */
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const turn = admitting.then(act);
    admitting = turn.catch(() => {});
    return turn;
  };

  const idle = (except: string) =>
    [...residents.values()]
      .filter(({ status, active, plan }) => status === "ready" && active === 0 && plan.setup.model !== except)
      .filter(({ plan }) => !isKept(plan.setup.model))
      .sort((a, b) => a.idleSince - b.idleSince);

  const freeHost = () => {
    const memory = options.memory();
    return memory.availableBytes - reserveBytes(memory) - sum([...residents.values()].map(uncounted));
  };

  const makeRoom = async (model: string, checked: Checked): Promise<Way> => {
    const spare = idle(model);
    const most = freeHost() + sum(spare.map(({ plan }) => hostBytes(plan.need)));
    const way = checked.ways.find(({ need }) => hostBytes(need) <= most);
    if (way === undefined) throw exhausted(model, checked, most, spare, [...residents.values()]);
    let gpuFree = checked.gpuFreeBytes;
    for (const resident of spare) {
      if (hostBytes(way.need) <= freeHost() && way.need.gpuBytes <= gpuFree) return way;
      log.info("unloading a model to make room", { model: resident.plan.setup.model, for: model });
      gpuFree += resident.plan.need.gpuBytes;
      await resident.unload();
    }
    if (hostBytes(way.need) <= freeHost()) return way;
    throw exhausted(model, checked, freeHost(), [], [...residents.values()]);
  };

  const begin = (known: KnownModel, checked: Checked, way: Way, wishes: LoadWishes): Resident<W> => {
    const model = known.entry.name;
    const { first, most } = options.threads(checked.header);
    const onGpu = way.setup.gpuLayers > checked.header.shape.layers;
    const threads = onGpu ? 1 : Math.min(wishes.threads || first, options.cores.total);
    const worker = options.start(model, way.setup.modelPath);
    options.limitMemory(worker.pid, hostBytes(way.need) * slackShare + slackBytes);
    const resident = openResident({
      plan: {
        setup: { ...way.setup, threads },
        need: way.need,
        device: way.setup.gpuLayers > 0 ? checked.device : "",
        threadsMax: onGpu ? 1 : wishes.threads || most,
        header: checked.header,
        fingerprint: modelFingerprint(known),
      },
      worker,
      seat: options.cores.seat,
      prove: (loaded) => options.prove(loaded, model),
      clock,
    });
    residents.set(model, resident);
    resident.ended.then(() => {
      if (residents.get(model) === resident) residents.delete(model);
    });
    return resident;
  };

  const check = ({ entry, ...known }: KnownModel, wishes: LoadWishes, signal: AbortSignal) => {
    const gpuReclaimableBytes = () => sum(idle(entry.name).map(({ plan }) => plan.need.gpuBytes));
    return checkModel({ entry, ...known }, wishes, { ...options, gpuReclaimableBytes }, signal);
  };

  const attempt = async (known: KnownModel, wishes: LoadWishes, signal: AbortSignal): Promise<Resident<W>> => {
    const model = known.entry.name;
    const checked = await check(known, wishes, signal);
    const resident = await inTurn(async () => {
      signal.throwIfAborted();
      return begin(known, checked, await makeRoom(model, checked), wishes);
    });
    try {
      await resident.ready;
    } catch (error) {
      await resident.ended;
      if (resident.plan.setup.gpuLayers === 0) throw error;
      log.warn("not loaded on the GPU, loading on the processor", { model, error });
      return attempt(known, { ...wishes, gpuLayers: 0 }, signal);
    }
    const { setup, need } = resident.plan;
    log.info("model ready", { model, ...resident.facts, threads: setup.threads, backend: setup.backend, ...need });
    return resident;
  };

  return { residents, check, load: attempt };
}

/** Bytes that the machine's figures do not show as taken: mapped pages count as free, and a load has not happened yet. */
function uncounted<W>({ status, plan }: Resident<W>): number {
  if (status === "ended") return 0;
  return status === "loading" ? hostBytes(plan.need) : plan.need.mappedBytes;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function exhausted<W>(
  model: string,
  { ways }: Checked,
  most: number,
  spare: readonly Resident<W>[],
  residents: readonly Resident<W>[],
): AiosError {
  const least = ways.at(-1)?.need ?? { mappedBytes: 0, ownBytes: 0, gpuBytes: 0 };
  const inUse = residents.filter((resident) => !spare.includes(resident) && resident.plan.setup.model !== model);
  const holding = inUse.map(({ plan }) => `${plan.setup.model} holds ${gigabytes(hostBytes(plan.need))}`).join(", ");
  const unloading = spare.length > 0 ? ` with ${spare.map(({ plan }) => plan.setup.model).join(" and ")} unloaded` : "";
  return new AiosError(
    "RESOURCE_EXHAUSTED",
    {
      act: "load model",
      object: model,
      reason:
        `it needs ${gigabytes(hostBytes(least))} of memory (${gigabytes(least.mappedBytes)} of weights, ` +
        `${gigabytes(least.ownBytes)} beside them) and ${gigabytes(Math.max(0, most))} can be had${unloading}` +
        (holding === "" ? "" : `; ${holding}`),
      next: "unload a model, choose a smaller one or a smaller context_tokens",
    },
    inUse.length > 0 ? { retryAfterMs: retryAfterMs } : {},
  );
}

/** When a model in use may have become idle. */
const retryAfterMs = 10_000;

function gigabytes(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
