import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import { modelEntry } from "#lib/model-manifest";
import type { Lease, ModelPool, ModelState, PooledWorker } from "../between/index.ts";
import type { Catalogue, FileHashes, KnownModel } from "../files/index.ts";
import { type Gpus, watchBusyCores } from "../machine/index.ts";
import { type LoadWishes, noWishes } from "./admission.ts";
import { openDemand } from "./demand.ts";
import { abortable, keepLoaded } from "./keeper.ts";
import { type LoaderOptions, openLoader } from "./loader.ts";
import type { Resident } from "./resident.ts";
import { embedderIn, type Levels, levelModel, routeTo } from "./routing.ts";
import { stateOf } from "./state.ts";
import type { Threads } from "./threads.ts";
import { tune } from "./tuner.ts";

export interface PoolOptions<W> extends Omit<LoaderOptions<W>, "threads"> {
  readonly catalogue: Catalogue;
  readonly levels: Levels;
  readonly threads: Threads;
  readonly hashes: FileHashes;
  readonly gpus: Gpus;
  /** Models that nobody uses are unloaded after this; the tactical model's own figure comes from the configuration. */
  readonly unloadAfterIdleMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** A pool with what operators ask of it, beside what calls need. */
export interface OperatedPool<W extends PooledWorker> extends ModelPool<W> {
  readonly catalogue: Catalogue;
  readonly hashes: FileHashes;
  /** The GPU's state, without asking it. */
  gpu(): string;
  /**
   * Loads a model, or loads it again when it is loaded otherwise than `wishes` say; resolves when it is ready. With a `path`
   * from that file, until the runtime ends.
   */
  load(model: string, path: string, wishes: LoadWishes, signal: AbortSignal): Promise<ModelState>;
  /** Unloads a model once its calls are done. FAILED_PRECONDITION for the one that is kept loaded. */
  unload(model: string): Promise<void>;
  state(model: string): ModelState | undefined;
}

export function openPool<W extends PooledWorker>(options: PoolOptions<W>): OperatedPool<W> {
  const { catalogue, levels, clock } = options;
  const ending = new AbortController();
  const models = openModels(options, ending.signal);
  const { operational, isKept, loader, keeper, demand, activity, loaded, wished } = models;
  const { residents } = loader;

  watchBusyCores({
    own: () => [...residents.values()].map(({ worker }) => worker.pid),
    active: () => activity().active > 0,
    told: (busy) => options.cores.setUsable(options.cores.total - busy),
    clock,
    signal: ending.signal,
  });

  const state = (known: KnownModel): ModelState => {
    const { name } = known.entry;
    const problem = isKept(name) ? keeper.problem() : demand.problem(name);
    return stateOf(known, residents.get(name), problem, levels, demand.isLoading(name) || isKept(name));
  };

  const states = (): ModelState[] => {
    const known = catalogue.all();
    const listed = known.some(({ entry }) => entry.name === operational);
    const all = listed ? known : [unlistedModel(operational, levels.operational.file), ...known];
    return all.map(state);
  };

  return {
    ready: keeper.ready,
    catalogue,
    hashes: options.hashes,
    gpu: () => options.gpus.status(),
    route: (wanted) => routeTo(wanted, operational, levels, catalogue),
    embedder: () => embedderIn(catalogue),
    acquire: models.acquire,
    models: states,
    state: (model) => states().find(({ name }) => name === model),
    async load(model, path, wishes, signal) {
      if (path !== "") catalogue.lend(modelEntry({ name: model, path }));
      const name = isKept(model) ? operational : knownIn(catalogue, model).entry.name;
      await loader.check(knownIn(catalogue, name), wishes, signal);
      wished.set(name, wishes);
      demand.forgive(name);
      const before = residents.get(name);
      const moved = path !== "" && before?.plan.setup.modelPath !== path;
      if (before !== undefined && (moved || !suits(before, wishes))) await before.unload();
      await loaded(name, signal);
      return state(knownIn(catalogue, name));
    },
    async unload(model) {
      if (isKept(model)) throw keptError(model);
      const resident = residents.get(knownIn(catalogue, model).entry.name);
      wished.delete(model);
      await resident?.unload();
    },
    stop() {
      ending.abort(new AiosError("UNAVAILABLE", "the runtime is ending; ask again in a few seconds"));
      keeper.stop();
      for (const resident of residents.values()) resident.stop();
    },
  };
}

/** The two ways in which a model comes to be loaded: kept loaded from the start, and on demand. */
function openModels<W extends PooledWorker>(options: PoolOptions<W>, signal: AbortSignal) {
  const { catalogue, levels, clock, log } = options;
  const operational = levelModel(catalogue, levels.operational);
  const isKept = (model: string) => model === operational;
  const loader = openLoader({ ...options, threads: (header) => options.threads.for(header) }, isKept);
  const { residents } = loader;
  /** How an operator wants a model loaded, by its name. */
  const wished = new Map<string, LoadWishes>();
  let begun = 0;
  const activity = () => ({ active: [...residents.values()].reduce((sum, { active }) => sum + active, 0), begun });

  const loadNow = async (known: KnownModel): Promise<Resident<W>> => {
    const { name } = known.entry;
    const resident = await loader.load(known, wished.get(name) ?? noWishes, signal);
    tune(resident, { threads: options.threads, activity, clock, log });
    return resident;
  };

  const keeper = keepLoaded({
    model: operational,
    load: async () => {
      const known = catalogue.find(levels.operational.file);
      if (known === undefined) throw missing(levels.operational.file, catalogue.folders);
      return requireAnswers(await loadNow({ ...known, entry: { ...known.entry, name: operational } }));
    },
    fingerprint: () => catalogue.fingerprint(levels.operational.file),
    clock,
    log,
  });

  const demand = openDemand({
    known: (model) => knownIn(catalogue, model),
    load: loadNow,
    idleMs: ({ file }) =>
      levels.tactical?.file === file ? levels.tactical.unloadAfterIdleMs : options.unloadAfterIdleMs,
    clock,
    log,
    signal,
  });

  const loaded = async (model: string, waiting: AbortSignal): Promise<Resident<W>> => {
    for (;;) {
      const resident = residents.get(model);
      if (resident?.status === "ready") return resident;
      if (resident?.status === "unloading") await abortable(resident.ended, waiting);
      else return abortable(isKept(model) ? keeper.loaded(waiting) : demand.loaded(model), waiting);
    }
  };

  const acquire = async (model: string, waiting: AbortSignal): Promise<Lease<W>> => {
    for (;;) {
      const resident = await loaded(model, waiting);
      // It may have ended or been told to unload between the promise and now.
      if (resident.status !== "ready") continue;
      begun++;
      return resident.lease(waiting);
    }
  };

  return { operational, isKept, loader, keeper, demand, activity, loaded, acquire, wished };
}

function knownIn(catalogue: Catalogue, model: string): KnownModel {
  const known = catalogue.find(model);
  if (known !== undefined) return known;
  throw new AiosError("NOT_FOUND", {
    act: "load model",
    object: model,
    reason: "this machine knows no model of this name",
    next: '"aiosctl models" lists those that it knows',
  });
}

/** Whether a model is loaded as somebody wishes. */
function suits<W>({ plan: { setup } }: Resident<W>, wishes: LoadWishes): boolean {
  const { contextTokens, gpuLayers, threads } = wishes;
  if (contextTokens !== 0 && contextTokens !== setup.contextTokens) return false;
  if (threads !== 0 && threads !== setup.threads) return false;
  return gpuLayers === undefined || gpuLayers === -1 || gpuLayers === setup.gpuLayers;
}

function unlistedModel(name: string, file: string): KnownModel {
  const none = {
    url: "",
    path: "",
    sha256: "",
    sizeBytes: 0,
    role: "operational",
    contextTokens: 0,
    gpuLayers: -1,
  } as const;
  return { entry: { name, file, ...none }, origin: "file", path: undefined };
}

function missing(file: string, folders: readonly string[]): AiosError {
  return new AiosError("NOT_FOUND", {
    act: "find model",
    object: file,
    reason: `it is not in ${folders.join(" or ")}`,
    next: "copy it there, or name another one in [models] of /etc/aios/config.toml",
  });
}

function keptError(model: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "unload model",
    object: model,
    reason: "it is the operational model, which is kept loaded",
    next: "name another one in [models.operational] of /etc/aios/config.toml first",
  });
}

/** Unloads one that can answer nobody. */
async function requireAnswers<W>(resident: Resident<W>): Promise<Resident<W>> {
  const { kind, model } = resident.plan.setup;
  if (kind === "generation") return resident;
  await resident.unload();
  throw new AiosError("FAILED_PRECONDITION", {
    act: "load model",
    object: model,
    reason: "it makes vectors of texts and answers nothing",
    next: "name another in [models.operational] of /etc/aios/config.toml, and add this one with the role embedding",
  });
}
