import { AiosError } from "#lib/errors";
import type { ModelEntry } from "#lib/model-manifest";
import type { WorkerSetup } from "../between/index.ts";
import {
  type FileHashes,
  fileIdentity,
  type KnownModel,
  layersThatFit,
  type ModelHeader,
  memoryNeed,
  type Need,
  readModelHeader,
  type Sizes,
} from "../files/index.ts";
import type { Gpu, Gpus } from "../machine/index.ts";

/** A caller's wishes in LoadModel, instead of the manifest's figures. */
export interface LoadWishes {
  /** 0 = as the manifest says. */
  readonly contextTokens: number;
  /** -1 = as many as fit; undefined = as the manifest says. */
  readonly gpuLayers: number | undefined;
  /** 0 = measured. */
  readonly threads: number;
}

/** As the manifest says, threads as measured. */
export const noWishes: LoadWishes = { contextTokens: 0, gpuLayers: undefined, threads: 0 };

/** A model file that was checked, and the ways in which it may be loaded, the best first. */
export interface Checked {
  readonly header: ModelHeader;
  readonly path: string;
  readonly ways: readonly Way[];
  readonly device: string;
  /** How much of the GPU's memory is free; 0 on the processor. */
  readonly gpuFreeBytes: number;
}

export interface Way {
  readonly need: Need;
  readonly setup: Omit<WorkerSetup, "threads">;
}

export interface AdmissionOptions {
  readonly hashes: FileHashes;
  readonly gpus: Gpus;
  /** The GPU's memory that other models would give up. */
  readonly gpuReclaimableBytes: () => number;
  /** Folder of the processor's back ends. */
  readonly bindingFolder: string;
}

/** Tokens of context at most unless the manifest says more, whatever the model was trained for: its memory grows with it. */
const contextTokensMax = 4_096;

/** Calls that are generated together: as many as memory allows of these. */
const sequenceChoices: readonly number[] = [4, 2, 1];

/** Tokens read at once. An abort waits for the batch in flight. */
const batchTokens = 512;

/** A text that is made a vector is read at once. */
const embeddingBatchTokens = 2_048;

/** The part of the GPU's memory that the driver and other programs are left: a tenth, and this at least. */
const gpuReserveBytes = 400_000_000;
const gpuReserveShare = 0.1;

/**
 * Looks at a model before it is loaded: its header in milliseconds, its hash once per file, the GPU if it may use one.
 * NOT_FOUND without a file, FAILED_PRECONDITION for what is no model, DATA_LOSS for another file than the manifest's.
 */
export async function checkModel(
  known: KnownModel,
  wishes: LoadWishes,
  { hashes, gpus, bindingFolder, gpuReclaimableBytes }: AdmissionOptions,
  signal: AbortSignal,
): Promise<Checked> {
  const { entry, path } = known;
  if (path === undefined) throw absentError(entry);
  const header = readModelHeader(path);
  await checkHash(entry, path, hashes, signal);
  const gpuLayers = wishes.gpuLayers ?? entry.gpuLayers;
  const gpu = gpuLayers === 0 ? undefined : await gpus.look();
  const contextTokens = contextOf(entry, header, wishes);
  const embedding = entry.role === "embedding" || !header.generates;
  const choices = embedding ? [1] : sequenceChoices;
  const ways = choices.map((sequences): Way => {
    const batch = embedding ? Math.min(contextTokens, embeddingBatchTokens) : batchTokens;
    const sizes = { contextTokens, sequences, batchTokens: batch };
    const layers = gpu === undefined ? 0 : layersFor(gpu, gpuReclaimableBytes(), header, sizes, gpuLayers);
    const onGpu = gpu !== undefined && layers > 0;
    const setup = {
      model: entry.name,
      modelPath: path,
      kind: embedding ? ("embedding" as const) : ("generation" as const),
      bindingFolder: onGpu ? gpu.bindingFolder : bindingFolder,
      backend: onGpu ? gpu.backend : ("cpu" as const),
      gpuLayers: layers,
      chatTemplate: header.chatTemplate,
      endToken: header.separatorToken,
      ...sizes,
    };
    return { setup, need: memoryNeed(header, { ...sizes, gpuLayers: layers }) };
  });
  const used = ways.some(({ setup }) => setup.gpuLayers > 0) ? gpu : undefined;
  return { header, path, ways, device: used?.device ?? "", gpuFreeBytes: used?.freeBytes ?? 0 };
}

function layersFor(
  gpu: Gpu,
  reclaimableBytes: number,
  header: ModelHeader,
  sizes: Omit<Sizes, "gpuLayers">,
  wanted: number,
): number {
  const free = gpu.freeBytes + reclaimableBytes - Math.max(gpuReserveBytes, gpu.totalBytes * gpuReserveShare);
  const fit = layersThatFit(header, sizes, free);
  return wanted < 0 ? fit : Math.min(wanted, fit);
}

function contextOf(entry: ModelEntry, { contextTokens: trained }: ModelHeader, wishes: LoadWishes): number {
  const wanted = wishes.contextTokens || entry.contextTokens;
  if (trained === 0) return wanted || contextTokensMax;
  if (wanted > trained) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "load model",
      object: entry.name,
      reason: `a context of ${wanted} tokens is wanted and it was trained for ${trained}`,
      next: `ask for ${trained} at most, or set context_tokens in its entry of models.toml to that`,
    });
  }
  return wanted || Math.min(trained, contextTokensMax);
}

async function checkHash(
  { name, sha256 }: ModelEntry,
  path: string,
  hashes: FileHashes,
  signal: AbortSignal,
): Promise<void> {
  if (sha256 === "") return;
  const found = await hashes.of(path, { signal });
  if (found === sha256) return;
  throw new AiosError("DATA_LOSS", {
    act: "load model",
    object: name,
    reason: `the SHA-256 of ${path} is ${found}, the manifest says ${sha256}`,
    next: `"aiosctl models pull ${name}" fetches it again`,
  });
}

function absentError({ name, file, url, sha256 }: ModelEntry): AiosError {
  const next =
    url !== "" && sha256 !== ""
      ? `"aiosctl models pull ${name}" fetches it`
      : `copy it to the models' folder, or give its entry an address and a hash: aiosctl models add ${name} --url ADDRESS --sha256 HASH`;
  return new AiosError("NOT_FOUND", {
    act: "load model",
    object: name,
    reason: `its file ${file} is not on this machine`,
    next,
  });
}

/** Changes when what `known` would be loaded from changes. */
export function modelFingerprint({ entry, path }: KnownModel): string {
  return `${JSON.stringify(entry)} ${path ?? ""} ${path === undefined ? "" : fileIdentity(path)}`;
}
