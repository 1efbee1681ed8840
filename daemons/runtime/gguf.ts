import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { AiosError, messageOf } from "#lib/errors";

/** What a model file says of itself. */
export interface ModelHeader {
  readonly architecture: string;
  /** `general.name`, or empty. */
  readonly name: string;
  /** Numbers in all its tensors. */
  readonly parameters: number;
  /** Tokens of context it was trained for; 0 when the file does not say. */
  readonly contextTokens: number;
  /** Jinja template of its chat format, or empty. */
  readonly chatTemplate: string;
  readonly sizeBytes: number;
}

/** More than any real file has: beyond these a file is hostile or damaged. */
const entriesMax = 65_536;
const arrayLengthMax = 4_194_304;
const keyLengthMax = 65_535;
const textLengthMax = 1_048_576;
const dimensionsMax = 4;

/** Bytes of each scalar metadata type by its number; strings (8) and arrays (9) have lengths of their own. */
const scalarBytes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const stringType = 8;
const arrayType = 9;

/** ggml's tensor types: numbers in a block, and bytes of a block. A type that is not here is left to llama.cpp. */
export const tensorTypes: Readonly<Record<number, readonly [numbers: number, bytes: number]>> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  3: [32, 20],
  6: [32, 22],
  7: [32, 24],
  8: [32, 34],
  9: [32, 36],
  10: [256, 84],
  11: [256, 110],
  12: [256, 144],
  13: [256, 176],
  14: [256, 210],
  15: [256, 292],
  16: [256, 66],
  17: [256, 74],
  18: [256, 98],
  19: [256, 50],
  20: [32, 18],
  21: [256, 110],
  22: [256, 82],
  23: [256, 136],
  24: [1, 1],
  25: [1, 2],
  26: [1, 4],
  27: [1, 8],
  28: [1, 8],
  29: [256, 56],
  30: [1, 2],
  34: [256, 54],
  35: [256, 66],
  39: [32, 17],
};

/**
 * Reads and checks the header of the GGUF file at `path`: magic, version, metadata, and that every tensor lies within the
 * file. Milliseconds, whatever the file's length; llama.cpp never sees a file that fails here.
 * Throws FAILED_PRECONDITION that says what is wrong with the file.
 */
export function readModelHeader(path: string): ModelHeader {
  const file = openSync(path, "r");
  try {
    return parse(new Cursor(file, fstatSync(file).size));
  } catch (error) {
    throw new AiosError(
      "FAILED_PRECONDITION",
      {
        act: "load model",
        object: path,
        reason: messageOf(error),
        next: "put a whole GGUF file in its place; it is tried again when it changes",
      },
      { cause: error },
    );
  } finally {
    closeSync(file);
  }
}

function parse(cursor: Cursor): ModelHeader {
  const { sizeBytes } = cursor;
  const short = sizeBytes < 24 ? `the file is ${sizeBytes} bytes, ` : "";
  const magic = sizeBytes < 4 ? "" : cursor.bytes(4).toString("latin1");
  if (magic !== "GGUF" || short !== "") throw new Error(`${short}not a GGUF (magic ${JSON.stringify(magic)})`);
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) throw new Error(`GGUF version ${version}: this runtime reads 2 and 3`);
  const tensorCount = cursor.count("tensors", entriesMax);
  const entryCount = cursor.count("metadata entries", entriesMax);
  const metadata = readMetadata(cursor, entryCount);
  const text = (key: string) => (typeof metadata.get(key) === "string" ? (metadata.get(key) as string) : "");
  const architecture = text("general.architecture");
  if (architecture === "") throw new Error("its metadata names no general.architecture");
  const contextTokens = metadata.get(`${architecture}.context_length`);
  return {
    architecture,
    name: text("general.name"),
    parameters: checkTensors(cursor, tensorCount, alignment(metadata)),
    contextTokens: typeof contextTokens === "number" ? contextTokens : 0,
    chatTemplate: text("tokenizer.chat_template"),
    sizeBytes,
  };
}

function alignment(metadata: ReadonlyMap<string, string | number>): number {
  const value = metadata.get("general.alignment") ?? 32;
  if (typeof value !== "number" || value <= 0 || value > 1_048_576 || value % 8 !== 0) {
    throw new Error(`general.alignment is ${value}: expected a multiple of 8`);
  }
  return value;
}

/** The strings and unsigned integers among the metadata; the rest is stepped over. */
function readMetadata(cursor: Cursor, count: number): Map<string, string | number> {
  const metadata = new Map<string, string | number>();
  for (let at = 0; at < count; at++) {
    const key = cursor.text("key", keyLengthMax);
    const type = cursor.uint32();
    if (type === stringType) metadata.set(key, cursor.text(quoted(key), textLengthMax));
    else if (type === arrayType) skipArray(cursor, key);
    else if (type === 4 || type === 5) metadata.set(key, cursor.uint32());
    else cursor.skip(scalarLength(type, key));
  }
  return metadata;
}

function skipArray(cursor: Cursor, key: string): void {
  const type = cursor.uint32();
  const length = cursor.count(`elements in ${quoted(key)}`, arrayLengthMax);
  if (type === stringType) {
    for (let at = 0; at < length; at++)
      cursor.skip(cursor.count(`bytes in an element of ${quoted(key)}`, textLengthMax));
  } else {
    cursor.skip(scalarLength(type, key) * length);
  }
}

function scalarLength(type: number, key: string): number {
  const bytes = scalarBytes[type];
  if (bytes === undefined) throw new Error(`metadata ${quoted(key)} has the unknown type ${type}`);
  return bytes;
}

/** Reads the tensor descriptions, checks that each tensor lies within the file, and counts the numbers. */
function checkTensors(cursor: Cursor, count: number, alignmentBytes: number): number {
  if (count === 0) throw new Error("it has no tensors");
  const tensors = Array.from({ length: count }, () => readTensor(cursor));
  const start = Math.ceil(cursor.position / alignmentBytes) * alignmentBytes;
  for (const { name, offset, bytes } of tensors) {
    const end = start + offset + bytes;
    if (end > cursor.sizeBytes) {
      throw new Error(`the file is truncated: tensor ${quoted(name)} ends at byte ${end} of ${cursor.sizeBytes}`);
    }
  }
  return tensors.reduce((sum, { numbers }) => sum + numbers, 0);
}

function readTensor(cursor: Cursor): { name: string; offset: number; bytes: number; numbers: number } {
  const name = cursor.text("tensor name", keyLengthMax);
  const dimensions = cursor.uint32();
  if (dimensions > dimensionsMax)
    throw new Error(`tensor ${quoted(name)} has ${dimensions} dimensions, at most ${dimensionsMax}`);
  let numbers = 1;
  for (let at = 0; at < dimensions; at++) {
    numbers *= cursor.count(`numbers in tensor ${quoted(name)}`, Number.MAX_SAFE_INTEGER);
    if (!Number.isSafeInteger(numbers)) throw new Error(`tensor ${quoted(name)} is larger than any file`);
  }
  const [blockNumbers, blockBytes] = tensorTypes[cursor.uint32()] ?? [1, 0];
  const offset = cursor.count(`bytes before tensor ${quoted(name)}`, Number.MAX_SAFE_INTEGER);
  return { name, offset, numbers, bytes: Math.ceil(numbers / blockNumbers) * blockBytes };
}

/** A name from a file that may be hostile, fit for a message. */
function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}

/** Bytes read at once. */
const windowBytes = 1_048_576;

/** Reads a file from start to end without holding it. Throws when it ends too soon. */
class Cursor {
  readonly sizeBytes: number;
  readonly #file: number;
  #window = Buffer.alloc(0);
  #windowStart = 0;
  position = 0;

  constructor(file: number, sizeBytes: number) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
  }

  bytes(length: number): Buffer {
    this.#need(length);
    const from = this.position - this.#windowStart;
    this.position += length;
    return this.#window.subarray(from, from + length);
  }

  skip(length: number): void {
    if (length > this.sizeBytes - this.position) throw this.#ended();
    this.position += length;
  }

  uint32(): number {
    return this.bytes(4).readUInt32LE();
  }

  /** A 64-bit count of `what`, at most `most`. */
  count(what: string, most: number): number {
    const value = this.bytes(8).readBigUInt64LE();
    if (value > BigInt(most)) throw new Error(`it claims ${value} ${what}, at most ${most}`);
    return Number(value);
  }

  text(what: string, lengthMax: number): string {
    return this.bytes(this.count(`bytes in ${what}`, lengthMax)).toString("utf8");
  }

  #need(length: number): void {
    if (length > this.sizeBytes - this.position) throw this.#ended();
    if (this.position >= this.#windowStart && this.position + length <= this.#windowStart + this.#window.length) return;
    const window = Buffer.allocUnsafe(Math.min(Math.max(length, windowBytes), this.sizeBytes - this.position));
    let filled = 0;
    while (filled < window.length) {
      const read = readSync(this.#file, window, filled, window.length - filled, this.position + filled);
      if (read === 0) throw this.#ended();
      filled += read;
    }
    this.#window = window;
    this.#windowStart = this.position;
  }

  #ended(): Error {
    return new Error(`the file is truncated: its header goes on after byte ${this.sizeBytes}`);
  }
}
