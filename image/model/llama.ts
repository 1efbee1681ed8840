import { type Encoding, encodings, type Metadata, type Tensor, writeGguf } from "./gguf.ts";
import { controlTokens, learnTokenizer, type Tokenizer } from "./tokenizer.ts";

/** The size of a llama-architecture model. */
export interface Shape {
  readonly layers: number;
  readonly embedding: number;
  readonly heads: number;
  /** Heads of keys and values, which groups of `heads` share. */
  readonly keyHeads: number;
  readonly feedForward: number;
  /** Tokens of context. */
  readonly context: number;
  /** Merges of the tokenizer, beside 256 bytes and three control tokens. */
  readonly merges: number;
  /** Tokens of the vocabulary in all: those that no merge makes are there to be generated. Default: those that are needed. */
  readonly vocabulary?: number;
  /** "mean": the file says that it makes vectors, each the mean of its text's tokens. */
  readonly pooling?: "mean";
  readonly weights: Encoding;
}

/** llama.cpp's number for a file whose weights are mostly of an encoding. */
const fileTypes: Readonly<Record<Encoding, number>> = { f32: 0, f16: 1, q4_0: 2, q8_0: 7 };

const chatTemplate = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`;

/** Writes a llama-architecture model with random weights to `path`. The same shape and names give the same bytes. */
export function writeLlamaModel(
  path: string,
  shape: Shape,
  about: { readonly name: string; readonly description: string },
): void {
  const tokenizer = learnTokenizer(shape.merges, shape.vocabulary);
  writeGguf(path, metadata(shape, tokenizer, about), tensors(shape, tokenizer.tokens.length));
}

function metadata(
  shape: Shape,
  tokenizer: Tokenizer,
  about: { readonly name: string; readonly description: string },
): Metadata {
  const { tokens, merges, controlFrom } = tokenizer;
  const control = (name: (typeof controlTokens)[number]) =>
    ({ type: "uint32", value: controlFrom + controlTokens.indexOf(name) }) as const;
  return {
    "general.architecture": { type: "string", value: "llama" },
    "general.name": { type: "string", value: about.name },
    "general.description": { type: "string", value: about.description },
    "general.license": { type: "string", value: "apache-2.0" },
    "general.file_type": { type: "uint32", value: fileTypes[shape.weights] },
    "llama.block_count": { type: "uint32", value: shape.layers },
    "llama.context_length": { type: "uint32", value: shape.context },
    "llama.embedding_length": { type: "uint32", value: shape.embedding },
    "llama.feed_forward_length": { type: "uint32", value: shape.feedForward },
    "llama.attention.head_count": { type: "uint32", value: shape.heads },
    "llama.attention.head_count_kv": { type: "uint32", value: shape.keyHeads },
    "llama.attention.layer_norm_rms_epsilon": { type: "float32", value: 1e-5 },
    "llama.rope.dimension_count": { type: "uint32", value: shape.embedding / shape.heads },
    "llama.rope.freq_base": { type: "float32", value: 10_000 },
    "llama.vocab_size": { type: "uint32", value: tokens.length },
    ...(shape.pooling && { "llama.pooling_type": { type: "uint32", value: 1 } }),
    "tokenizer.ggml.model": { type: "string", value: "gpt2" },
    "tokenizer.ggml.pre": { type: "string", value: "gpt-2" },
    "tokenizer.ggml.tokens": { type: "strings", value: tokens },
    "tokenizer.ggml.token_type": { type: "int32s", value: tokens.map((_, at) => (at < controlFrom ? 1 : 3)) },
    "tokenizer.ggml.merges": { type: "strings", value: merges },
    "tokenizer.ggml.bos_token_id": control("<|endoftext|>"),
    "tokenizer.ggml.eos_token_id": control("<|im_end|>"),
    "tokenizer.ggml.padding_token_id": control("<|endoftext|>"),
    "tokenizer.ggml.add_bos_token": { type: "bool", value: false },
    "tokenizer.chat_template": { type: "string", value: chatTemplate },
  };
}

function tensors(shape: Shape, vocabulary: number): Tensor[] {
  const { embedding, feedForward, layers, weights } = shape;
  const random = (name: string, size: readonly [number, number]) => randomWeights(name, size, weights);
  const keys = (embedding / shape.heads) * shape.keyHeads;
  const blocks = Array.from({ length: layers }, (_, layer) => {
    const name = (part: string) => `blk.${layer}.${part}.weight`;
    return [
      ones(name("attn_norm"), embedding),
      random(name("attn_q"), [embedding, embedding]),
      random(name("attn_k"), [embedding, keys]),
      random(name("attn_v"), [embedding, keys]),
      random(name("attn_output"), [embedding, embedding]),
      ones(name("ffn_norm"), embedding),
      random(name("ffn_gate"), [embedding, feedForward]),
      random(name("ffn_up"), [embedding, feedForward]),
      random(name("ffn_down"), [feedForward, embedding]),
    ];
  });
  return [
    random("token_embd.weight", [embedding, vocabulary]),
    ...blocks.flat(),
    ones("output_norm.weight", embedding),
    random("output.weight", [embedding, vocabulary]),
  ];
}

function ones(name: string, length: number): Tensor {
  return {
    name,
    shape: [length],
    encoding: "f32",
    data: () => new Uint8Array(new Float32Array(length).fill(1).buffer),
  };
}

/** Weights of uniform distribution and variance 1/inputs, so that activations neither vanish nor overflow. */
function randomWeights(name: string, shape: readonly [inputs: number, outputs: number], encoding: Encoding): Tensor {
  return {
    name,
    shape,
    encoding,
    data: () => {
      const next = generator(name);
      const reach = Math.sqrt(3 / shape[0]);
      if (encoding === "q8_0" || encoding === "q4_0") return randomBlocks(encoding, shape[0] * shape[1], reach, next);
      const numbers = { length: shape[0] * shape[1] };
      const weight = () => (next() * 2 - 1) * reach;
      const array = encoding === "f16" ? Float16Array.from(numbers, weight) : Float32Array.from(numbers, weight);
      return new Uint8Array(array.buffer);
    },
  };
}

/** The largest whole number of a block's. */
const largest = { q8_0: 127, q4_0: 7 } as const;

/** The same in blocks of a scale and whole numbers, four or eight of which come from each number of the generator. */
function randomBlocks(encoding: keyof typeof largest, count: number, reach: number, next: () => number): Uint8Array {
  const { block, bytes } = encodings[encoding];
  const data = new DataView(new ArrayBuffer((count / block) * bytes));
  for (let at = 0; at < data.byteLength; at += bytes) {
    data.setFloat16(at, reach / largest[encoding], true);
    for (let word = 2; word < bytes; word += 4) data.setUint32(at + word, next() * 2 ** 32, true);
  }
  return new Uint8Array(data.buffer);
}

/** Mulberry32, seeded by the tensor's name (FNV-1a): numbers in [0, 1), the same on every host. */
function generator(name: string): () => number {
  let state = [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
