import type { Clock } from "#lib/clock";
import { durationMs } from "#lib/config/duration";
import type { Log } from "#lib/log";
import { type SpawnWorker, startWorker, type Worker } from "../between/index.ts";
import { openCatalogue, openFileHashes, type Places } from "../files/index.ts";
import { gpuCandidates, machineMemory, openGpus, type SpawnProbe, shareCores } from "../machine/index.ts";
import { type OperatedPool, openPool } from "./model-pool.ts";
import type { Levels } from "./routing.ts";
import { selfTest } from "./self-test.ts";
import { openThreads, processorName, realCores } from "./threads.ts";

/** `[models]` of the configuration, as far as the runtime reads it. */
interface ModelsConfig {
  readonly operational: { readonly name: string; readonly max_tokens: number; readonly temperature: number };
  readonly tactical?: {
    readonly name: string;
    readonly load_on_demand: boolean;
    readonly max_tokens: number;
    readonly temperature: number;
    readonly unload_after_idle: string;
  };
}

interface MachinePoolOptions {
  readonly models: ModelsConfig;
  readonly places: Places;
  /** Folder where the runtime keeps what it has measured. */
  readonly stateFolder: string;
  /** node_modules with llama.cpp's back ends. */
  readonly modules: string;
  readonly spawnWorker: SpawnWorker;
  readonly spawnProbe: SpawnProbe;
  /** Limits a process' memory. Best effort. */
  readonly limitMemory: (pid: number, bytes: number) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** A model that the configuration does not name is unloaded after this long without use. */
const unloadAfterIdleMs = 300_000;

/** The pool of models of this machine: its own cores, memory and GPU. */
export function openMachinePool(options: MachinePoolOptions): OperatedPool<Worker> {
  const { models, places, stateFolder, modules, clock, log } = options;
  const cores = realCores();
  return openPool<Worker>({
    catalogue: openCatalogue(places),
    levels: levelsOf(models),
    hashes: openFileHashes(`${stateFolder}/hashes.json`),
    threads: openThreads(`${stateFolder}/threads.json`, cores, processorName()),
    cores: shareCores(cores, clock),
    gpus: openGpus({ ...gpuCandidates({ modules, dev: "/dev" }), spawn: options.spawnProbe, clock, log }),
    bindingFolder: `${modules}/@node-llama-cpp/linux-x64/bins/linux-x64`,
    start: (model, path) => startWorker(() => options.spawnWorker(path), model, clock, log),
    prove: selfTest,
    limitMemory: options.limitMemory,
    memory: () => machineMemory(),
    unloadAfterIdleMs,
    clock,
    log,
  });
}

function levelsOf({ operational, tactical }: ModelsConfig): Levels {
  const level = ({ name, max_tokens, temperature }: ModelsConfig["operational"]) => ({
    file: name,
    maxTokens: max_tokens,
    temperature,
  });
  return {
    operational: level(operational),
    tactical: tactical && {
      ...level(tactical),
      loadOnDemand: tactical.load_on_demand,
      unloadAfterIdleMs: durationMs(tactical.unload_after_idle),
    },
  };
}
