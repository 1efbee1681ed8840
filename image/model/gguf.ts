import { closeSync, openSync, writeSync } from "node:fs";

/**
 * The GGUF file format, version 3, little endian, as ggml's docs/gguf.md gives it:
 * magic, version, counts, metadata, tensor descriptions, padding, tensor data.
 */
const ggufVersion = 3;

/** Tensor data starts, and each tensor in it, at a multiple of this many bytes. */
const alignmentBytes = 32;

/** A metadata value with the type it has in the file. */
type Value =
  | { readonly type: "uint32" | "int32" | "float32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "int32s"; readonly value: readonly number[] };

export type Metadata = Readonly<Record<string, Value>>;

const typeNumbers = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const;

/**
 * How a tensor's numbers are stored: ggml's number for it, and the bytes that `block` numbers take. q8_0 and q4_0:
 * a scale (f16) and 32 whole numbers of 8 or 4 bits.
 */
export const encodings = {
  f32: { number: 0, block: 1, bytes: 4 },
  f16: { number: 1, block: 1, bytes: 2 },
  q4_0: { number: 2, block: 32, bytes: 18 },
  q8_0: { number: 8, block: 32, bytes: 34 },
} as const;
export type Encoding = keyof typeof encodings;

export interface Tensor {
  readonly name: string;
  /** Lengths of its dimensions, the fastest-running first (ggml's order). */
  readonly shape: readonly number[];
  readonly encoding: Encoding;
  /** Its numbers, in the file's bytes. Called once, while writing, so that a large model need not fit in memory. */
  data(): Uint8Array;
}

/** Writes a model to `path`. Throws when a tensor's data is not as long as its shape says. */
export function writeGguf(path: string, metadata: Metadata, tensors: readonly Tensor[]): void {
  const file = openSync(path, "w", 0o644);
  try {
    writeAll(file, header(metadata, tensors));
    for (const tensor of tensors) {
      const data = tensor.data();
      if (data.length !== sizeBytes(tensor)) {
        throw new Error(`write tensor ${tensor.name}: ${data.length} bytes where its shape needs ${sizeBytes(tensor)}`);
      }
      writeAll(file, data);
      writeAll(file, Buffer.alloc(padding(data.length)));
    }
  } finally {
    closeSync(file);
  }
}

function header(metadata: Metadata, tensors: readonly Tensor[]): Buffer {
  const entries = Object.entries(metadata);
  const start = Buffer.concat([
    Buffer.from("GGUF"),
    uint32(ggufVersion),
    uint64(tensors.length),
    uint64(entries.length),
    ...entries.map(([key, value]) => Buffer.concat([string(key), typed(value)])),
    ...descriptions(tensors),
  ]);
  return Buffer.concat([start, Buffer.alloc(padding(start.length))]);
}

function descriptions(tensors: readonly Tensor[]): Buffer[] {
  let offset = 0;
  return tensors.map((tensor) => {
    const described = Buffer.concat([
      string(tensor.name),
      uint32(tensor.shape.length),
      ...tensor.shape.map(uint64),
      uint32(encodings[tensor.encoding].number),
      uint64(offset),
    ]);
    offset += sizeBytes(tensor) + padding(sizeBytes(tensor));
    return described;
  });
}

function sizeBytes({ shape, encoding }: Tensor): number {
  const { block, bytes } = encodings[encoding];
  return (shape.reduce((product, length) => product * length, 1) / block) * bytes;
}

function padding(lengthBytes: number): number {
  return (alignmentBytes - (lengthBytes % alignmentBytes)) % alignmentBytes;
}

function typed(entry: Value): Buffer {
  switch (entry.type) {
    case "strings":
      return array(typeNumbers.string, entry.value.map(string));
    case "int32s":
      return array(typeNumbers.int32, entry.value.map(int32));
    default:
      return Buffer.concat([uint32(typeNumbers[entry.type]), scalar(entry)]);
  }
}

function scalar(entry: Exclude<Value, { type: "strings" | "int32s" }>): Buffer {
  switch (entry.type) {
    case "uint32":
      return uint32(entry.value);
    case "int32":
      return int32(entry.value);
    case "float32":
      return float32(entry.value);
    case "bool":
      return Buffer.from([entry.value ? 1 : 0]);
    case "string":
      return string(entry.value);
  }
}

function array(elementType: number, elements: readonly Buffer[]): Buffer {
  return Buffer.concat([uint32(typeNumbers.array), uint32(elementType), uint64(elements.length), ...elements]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function float32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function string(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint64(bytes.length), bytes]);
}

function writeAll(file: number, data: Uint8Array): void {
  for (let written = 0; written < data.length; ) written += writeSync(file, data, written);
}
