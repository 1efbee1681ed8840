/**
 * A model's memory is reckoned from its header before it is loaded: weights (mapped, so the kernel counts them as free:
 * they are subtracted), weights that llama.cpp copies into another order (Q4_0 and its kin, once more), keys and
 * values, buffers.
 */
import type { ModelHeader } from "./gguf.ts";

/** The settings of a loaded model that its memory depends on. */
export interface Sizes {
  /** Of each sequence. */
  readonly contextTokens: number;
  readonly sequences: number;
  readonly batchTokens: number;
  readonly gpuLayers: number;
}

/** Bytes that a loaded model needs. */
export interface Need {
  /** Of the file, mapped: they count as free memory until somebody looks closer, and loading again reads them again. */
  readonly mappedBytes: number;
  /** The worker's own. */
  readonly ownBytes: number;
  /** On the GPU. */
  readonly gpuBytes: number;
}

/** Keys and values are kept as f16. */
const cellBytes = 2;

/** A worker without a model: Node, the addon, the bundle. */
const processBytes = 70_000_000;

/** llama.cpp's own tables for each token of the vocabulary: text, score, hash entries of tokens and merges. */
const tokenBytes = 400;

/** Layers beyond those counted by the header: the output's matrix is put on the GPU as one more. */
const outputLayers = 1;

/**
 * The memory of `header`'s model when loaded with `sizes`, from its header alone: not less than what llama.cpp took for
 * models of several shapes, and at most a fourth more (the figures are in model-memory.test.ts).
 */
export function memoryNeed({ shape }: ModelHeader, sizes: Sizes): Need {
  const layers = Math.max(1, shape.layers);
  const onGpu = Math.min(sizes.gpuLayers, layers);
  const whole = sizes.gpuLayers >= layers + outputLayers;
  const share = onGpu / layers;
  const keys = keysBytes(shape, sizes);
  const otherBytes = shape.tensorBytes - shape.layerBytes;
  const gpuWeights = shape.layerBytes * share + (whole ? otherBytes : 0);
  const compute = computeBytes(shape, sizes);
  const weightsHere = shape.tensorBytes - gpuWeights;
  return {
    // With everything on the GPU the file was read once, and its pages may go.
    mappedBytes: Math.round(whole ? 0 : weightsHere),
    ownBytes: Math.round(
      processBytes +
        shape.vocabulary * tokenBytes +
        shape.repackedBytes * (1 - share) +
        keys * (1 - share) +
        (whole ? 0 : compute),
    ),
    gpuBytes: sizes.gpuLayers === 0 ? 0 : Math.round(gpuWeights + keys * share + compute),
  };
}

/** Bytes of memory, the GPU's not among them. */
export function hostBytes({ mappedBytes, ownBytes }: Need): number {
  return mappedBytes + ownBytes;
}

/** The most layers that fit into `freeBytes` of the GPU's memory; all of them and the output's when everything fits. */
export function layersThatFit(header: ModelHeader, sizes: Omit<Sizes, "gpuLayers">, freeBytes: number): number {
  const most = Math.max(1, header.shape.layers) + outputLayers;
  for (let gpuLayers = most; gpuLayers > 0; gpuLayers--) {
    if (memoryNeed(header, { ...sizes, gpuLayers }).gpuBytes <= freeBytes) return gpuLayers;
  }
  return 0;
}

function keysBytes({ layers, keyHeads, keyLength, valueLength }: ModelHeader["shape"], sizes: Sizes): number {
  const cells = sizes.contextTokens * sizes.sequences;
  return layers * keyHeads * (keyLength + valueLength) * cells * cellBytes;
}

/** The graph's own buffers: the widest intermediate results of one batch, and the mask of what may attend to what. */
function computeBytes({ embedding, feedForward, vocabulary }: ModelHeader["shape"], sizes: Sizes): number {
  const batch = sizes.batchTokens;
  const widest = Math.max(vocabulary, 2 * feedForward + 2 * embedding);
  const mask = sizes.contextTokens * batch * 6;
  const logits = vocabulary * 4 * sizes.sequences;
  return batch * 4 * (widest + embedding) + mask + logits;
}
