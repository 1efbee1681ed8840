import { type Shape, writeLlamaModel } from "./llama.ts";

/**
 * 0.14 million parameters, 0.6 MB: small, since it is loaded and asked on the path of each boot, and f32, since emulated
 * processors convert f16 number by number. Under TCG this loads and answers its test prompt in 0.1 s; 0.9 million
 * parameters in f16 took 0.9 s.
 */
export const bringUpShape: Shape = {
  layers: 2,
  embedding: 64,
  heads: 2,
  keyHeads: 1,
  feedForward: 128,
  context: 1024,
  merges: 253,
  weights: "f32",
};

/** The model's file name on the machine. */
export const bringUpFile = "aios-bringup.gguf";

/**
 * Writes the bring-up model to `path`: a real GGUF of the llama architecture with a real tokenizer and chat template,
 * and random weights. Loading, generation, streaming and grammars are exercised for real; its answers mean nothing.
 */
export function writeBringUpModel(path: string, shape: Shape = bringUpShape): void {
  writeLlamaModel(path, shape, {
    name: "aios-bringup",
    description:
      "Bring-up model: its weights are random and its answers mean nothing. It exercises loading and generation.",
  });
}
