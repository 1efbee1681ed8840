/**
 * A GPU is asked by a child process (`gpu-probe.ts`): drivers crash and hang. A back end that failed is not asked
 * again, and a model that does not load on the GPU is loaded on the processor.
 */
import type { ChildProcess } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import { beginning } from "#lib/text";
import type { Backend } from "../between/index.ts";

/** The probe program's output. */
export interface ProbeAnswer {
  readonly backend: string;
  readonly devices: readonly string[];
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** A GPU that answered. */
export interface Gpu {
  readonly backend: Exclude<Backend, "cpu">;
  /** Of the addon and ggml's libraries for it. */
  readonly bindingFolder: string;
  /** Names of the devices. */
  readonly device: string;
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** A back end that may be there. */
export interface Candidate {
  readonly backend: Exclude<Backend, "cpu">;
  readonly bindingFolder: string;
}

/** Starts the probe program for a folder, its answer on standard output. */
export type SpawnProbe = (bindingFolder: string) => ChildProcess;

interface GpuOptions {
  readonly candidates: readonly Candidate[];
  /** Why there are none, for people; empty when there are some. */
  readonly without: string;
  readonly spawn: SpawnProbe;
  readonly clock: Clock;
  readonly log: Log;
  readonly timeoutMs?: number;
}

/** The machine's GPU, as far as llama.cpp can use it. */
export interface Gpus {
  /**
   * The first back end that answers, with its free memory as of now; undefined when there is none. A back end whose probe
   * crashed, hung or found nothing is not asked again.
   */
  look(): Promise<Gpu | undefined>;
  /** The GPU's state without asking it: "vulkan: NAME", or "none: why". */
  status(): string;
}

/** A driver that takes longer to say what it drives is not one to load a model on. */
const probeTimeoutMs = 20_000;

/** An answer has no more bytes. */
const answerBytesMax = 65_536;

export function openGpus(options: GpuOptions): Gpus {
  const { candidates, clock, log } = options;
  const failures = new Map<Candidate, string>();
  let latest: Gpu | undefined;
  let looking: Promise<Gpu | undefined> | undefined;

  const look = async (): Promise<Gpu | undefined> => {
    for (const candidate of candidates) {
      if (failures.has(candidate)) continue;
      const began = clock.monotonic();
      const found = await probe(candidate, options);
      if (typeof found !== "string") {
        if (latest === undefined) log.info("GPU found", { ...found, probeMs: Math.round(clock.monotonic() - began) });
        latest = found;
        return found;
      }
      failures.set(candidate, found);
      log.warn("no GPU through this back end", { backend: candidate.backend, reason: found });
    }
    latest = undefined;
    return undefined;
  };

  return {
    look() {
      looking ??= look().finally(() => {
        looking = undefined;
      });
      return looking;
    },
    status() {
      if (latest !== undefined) return `${latest.backend}: ${latest.device}`;
      if (candidates.length === 0) return `none: ${options.without}`;
      const reasons = [...failures].map(([{ backend }, reason]) => `${backend}: ${reason}`);
      return reasons.length === candidates.length ? `none: ${reasons.join("; ")}` : "not asked yet";
    },
  };
}

/** Asks one back end. Returns the GPU, or why there is none. */
async function probe(
  candidate: Candidate,
  { spawn, clock, timeoutMs = probeTimeoutMs }: GpuOptions,
): Promise<Gpu | string> {
  const child = spawn(candidate.bindingFolder);
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    if (output.length < answerBytesMax) output += chunk.toString("utf8");
  });
  const over = new AbortController();
  const ended = new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(`its probe does not start: ${error.message}`));
    child.once("close", (code, signal) =>
      resolve(code === 0 ? undefined : `its probe ended with ${signal ?? `exit code ${code}`}`),
    );
  });
  const late = clock.sleep(timeoutMs, over.signal).then(
    () => `its probe did not answer within ${timeoutMs / 1000} s`,
    () => undefined,
  );
  const failure = await Promise.race([ended, late]);
  over.abort();
  child.kill("SIGKILL");
  child.stdout?.destroy();
  return failure ?? accept(candidate, output);
}

function accept({ backend, bindingFolder }: Candidate, output: string): Gpu | string {
  const answer = parse(output);
  if (answer === undefined) return "its probe answered nothing that can be read";
  if (answer.backend !== backend) return `its probe found ${answer.backend} only`;
  if (answer.devices.length === 0 || answer.totalBytes <= 0) return "it finds no device";
  const { totalBytes, freeBytes, devices } = answer;
  return { backend, bindingFolder, device: beginning(devices.join(", "), 200), totalBytes, freeBytes };
}

function parse(output: string): ProbeAnswer | undefined {
  try {
    const answer = JSON.parse(output) as Partial<ProbeAnswer> | null;
    const { backend, devices, totalBytes, freeBytes } = answer ?? {};
    const isBytes = (value: unknown): value is number =>
      typeof value === "number" && Number.isFinite(value) && value >= 0;
    if (typeof backend !== "string" || !Array.isArray(devices) || !isBytes(totalBytes) || !isBytes(freeBytes))
      return undefined;
    return { backend, devices: devices.map(String), totalBytes, freeBytes: Math.min(freeBytes, totalBytes) };
  } catch {
    return undefined;
  }
}

/** Where back ends and devices are looked for. */
interface GpuPlaces {
  /** node_modules beside the daemons. */
  readonly modules: string;
  readonly dev: string;
}

/** The back ends that this image carries, in the order in which they are tried, if the machine has a GPU's device file. */
export function gpuCandidates({ modules, dev }: GpuPlaces): Pick<GpuOptions, "candidates" | "without"> {
  const installed = (["cuda", "vulkan"] as const)
    .map((backend) => ({
      backend,
      bindingFolder: `${modules}/@node-llama-cpp/linux-x64-${backend}/bins/linux-x64-${backend}`,
    }))
    .filter(({ bindingFolder }) => existsSync(`${bindingFolder}/llama-addon.node`));
  if (installed.length === 0) return { candidates: [], without: "the image carries no back end for GPUs" };
  const nvidia = existsSync(`${dev}/nvidia0`);
  const render = names(`${dev}/dri`).some((name) => name.startsWith("renderD"));
  if (!nvidia && !render) return { candidates: [], without: "the machine has no GPU that a driver knows" };
  return { candidates: installed.filter(({ backend }) => backend === "vulkan" || nvidia), without: "" };
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
