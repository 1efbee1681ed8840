/**
 * A model file is looked at before llama.cpp sees it. The header is read in milliseconds, and what is truncated,
 * overlapping, of unknown types or lies about counts is refused; `gguf-corrupt.test.ts` holds several thousand variants
 * against it. What passes and is hostile all the same costs the worker that loads it.
 */
import { closeSync, fstatSync, openSync } from "node:fs";
import { AiosError, messageOf } from "#lib/errors";
import { Cursor, quote, textLengthMax } from "./gguf-cursor.ts";
import { repackedTypes, tensorTypes } from "./gguf-tensors.ts";
import { partsOf } from "./model-files.ts";

/** A model file's header. */
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
  /** Whether it makes texts; else it reads them, and makes vectors. */
  readonly generates: boolean;
  /** The token that ends a text for a model of BERT's kind ([SEP]). */
  readonly separatorToken: number | undefined;
  readonly sizeBytes: number;
  readonly shape: ModelShape;
}

/** The numbers that a model's memory is reckoned from. Those that the file does not give are 0. */
interface ModelShape {
  readonly layers: number;
  readonly embedding: number;
  readonly feedForward: number;
  readonly heads: number;
  /** Heads of keys and values; the largest number where layers differ. */
  readonly keyHeads: number;
  /** Numbers in a key and in a value of one head. */
  readonly keyLength: number;
  readonly valueLength: number;
  readonly vocabulary: number;
  /** Bytes of all tensors, and of those that belong to a layer. */
  readonly tensorBytes: number;
  readonly layerBytes: number;
  /** Bytes of the tensors that llama.cpp copies into another order for the processor, beside the file's own. */
  readonly repackedBytes: number;
}

/** More than any real file has: beyond these a file is hostile or damaged. */
const entriesMax = 65_536;
const arrayLengthMax = 4_194_304;
const keyLengthMax = 65_535;
const dimensionsMax = 4;

/** Texts in all lists (tokens, merges): with this many a header is checked in a second. */
const textsMax = 4_194_304;

/** ggml's own limit, with its closing zero. */
const tensorNameBytesMax = 63;

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
const boolType = 7;
const stringType = 8;
const arrayType = 9;
const uint32Type = 4;
const int32Type = 5;

/**
 * Reads and checks the header of the GGUF file at `path`: magic, version, metadata, and that every tensor lies within the
 * file. Milliseconds, whatever the file's length; llama.cpp never sees a file that fails here.
 * Throws FAILED_PRECONDITION that says what is wrong with the file.
 */
export function readModelHeader(path: string): ModelHeader {
  try {
    const [first = path, ...parts] = partsOf(path);
    const header = opened(first, (cursor) => parse(cursor, parts.length > 0));
    return parts.map((part) => opened(part, tensorsIn)).reduce(withPart, header);
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
  }
}

function opened<T>(path: string, read: (cursor: Cursor) => T): T {
  const file = openSync(path, "r");
  try {
    return read(new Cursor(file, fstatSync(file).size));
  } finally {
    closeSync(file);
  }
}

type FilePart = Pick<ModelHeader, "sizeBytes" | "parameters"> &
  Pick<ModelShape, "tensorBytes" | "layerBytes" | "repackedBytes">;

/** The addition of one more part of a split file: tensors alone. */
function tensorsIn(cursor: Cursor): FilePart {
  const { tensors } = read(cursor, true);
  return { sizeBytes: cursor.sizeBytes, parameters: sum(tensors, ({ numbers }) => numbers), ...weightsOf(tensors) };
}

function withPart({ shape, ...header }: ModelHeader, part: FilePart): ModelHeader {
  return {
    ...header,
    sizeBytes: header.sizeBytes + part.sizeBytes,
    parameters: header.parameters + part.parameters,
    shape: {
      ...shape,
      tensorBytes: shape.tensorBytes + part.tensorBytes,
      layerBytes: shape.layerBytes + part.layerBytes,
      repackedBytes: shape.repackedBytes + part.repackedBytes,
    },
  };
}

function parse(cursor: Cursor, split: boolean): ModelHeader {
  const { metadata, tensors } = read(cursor, split);
  const { sizeBytes } = cursor;
  const architecture = metadata.text("general.architecture");
  if (architecture === "") throw new Error("its metadata names no general.architecture");
  return {
    architecture,
    name: metadata.text("general.name"),
    parameters: sum(tensors, ({ numbers }) => numbers),
    contextTokens: metadata.number(`${architecture}.context_length`),
    chatTemplate: metadata.text("tokenizer.chat_template"),
    generates: !readers.includes(architecture) && metadata.flag(`${architecture}.attention.causal`) !== false,
    separatorToken: separatorOf(metadata),
    sizeBytes,
    shape: shapeOf(metadata, architecture, tensors),
  };
}

/** Metadata and tensors of a file; `split`: of a part of one, which may hold no tensors. */
function read(cursor: Cursor, split: boolean): { readonly metadata: Metadata; readonly tensors: readonly Tensor[] } {
  const { sizeBytes } = cursor;
  const short = sizeBytes < 24 ? `the file is ${sizeBytes} bytes, ` : "";
  const magic = sizeBytes < 4 ? "" : cursor.bytes(4).toString("latin1");
  if (magic !== "GGUF" || short !== "") throw new Error(`${short}not a GGUF (magic ${JSON.stringify(magic)})`);
  const version = cursor.uint32();
  if (version === 0x0200_0000 || version === 0x0300_0000)
    throw new Error("its numbers are big-endian: convert it for this processor");
  if (version !== 2 && version !== 3) throw new Error(`GGUF version ${version}: this runtime reads 2 and 3`);
  const tensorCount = cursor.count("tensors", entriesMax);
  const entryCount = cursor.count("metadata entries", entriesMax);
  const metadata = readMetadata(cursor, entryCount);
  const tensors = split && tensorCount === 0 ? [] : readTensors(cursor, tensorCount);
  checkExtents(cursor, tensors, alignment(metadata));
  return { metadata, tensors };
}

/** Architectures of llama.cpp that only read. */
const readers: readonly string[] = [
  ...["bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert"],
  ...["t5encoder", "gemma-embedding"],
];

/** [SEP] in BERT's own vocabulary, which files that do not name it have. */
const bertSeparator = 102;

function separatorOf(metadata: Metadata): number | undefined {
  if (metadata.text("tokenizer.ggml.model") !== "bert") return undefined;
  // The key is misspelt in the format.
  return metadata.number("tokenizer.ggml.seperator_token_id") || bertSeparator;
}

/** More layers end llama.cpp's process, as does a model that says it has none. */
const layersMax = 512;

function shapeOf(metadata: Metadata, architecture: string, tensors: readonly Tensor[]): ModelShape {
  const layers = metadata.given(`${architecture}.block_count`);
  if (layers !== undefined && (layers < 1 || layers > layersMax))
    throw new Error(`${quote(`${architecture}.block_count`)} is ${layers}: expected 1 to ${layersMax}`);
  const of = (key: string) => metadata.number(`${architecture}.${key}`);
  const [embedding, heads] = [of("embedding_length"), of("attention.head_count")];
  const perHead = heads > 0 ? Math.ceil(embedding / heads) : 0;
  return {
    layers: of("block_count"),
    embedding,
    feedForward: of("feed_forward_length"),
    heads,
    keyHeads: of("attention.head_count_kv") || heads,
    keyLength: of("attention.key_length") || perHead,
    valueLength: of("attention.value_length") || perHead,
    vocabulary: metadata.length("tokenizer.ggml.tokens") || of("vocab_size"),
    ...weightsOf(tensors),
  };
}

function weightsOf(tensors: readonly Tensor[]) {
  const bytes = (belongs: (tensor: Tensor) => boolean) => sum(tensors.filter(belongs), (tensor) => tensor.bytes);
  return {
    tensorBytes: bytes(() => true),
    layerBytes: bytes(({ name }) => name.startsWith("blk.")),
    repackedBytes: bytes(({ type }) => repackedTypes.includes(type)),
  };
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function alignment(metadata: Metadata): number {
  const value = metadata.number("general.alignment") || 32;
  if (value > 1_048_576 || value < 8 || (value & (value - 1)) !== 0) {
    throw new Error(`general.alignment is ${value}: expected a power of 2 from 8 to 1048576`);
  }
  return value;
}

/**
 * The part of the metadata that is kept: texts, whole numbers, the largest number of a list, and the lengths of lists.
 */
interface Metadata {
  text(key: string): string;
  number(key: string): number;
  /** Undefined where the file does not say. */
  given(key: string): number | undefined;
  length(key: string): number;
  /** Undefined where the file does not say. */
  flag(key: string): boolean | undefined;
}

function readMetadata(cursor: Cursor, count: number): Metadata {
  const [texts, numbers, lengths] = [new Map<string, string>(), new Map<string, number>(), new Map<string, number>()];
  const [keys, flags] = [new Set<string>(), new Map<string, boolean>()];
  let textsLeft = textsMax;
  for (let at = 0; at < count; at++) {
    const key = cursor.text("key", keyLengthMax);
    if (keys.has(key)) throw new Error(`metadata ${quote(key)} is there twice`);
    keys.add(key);
    const type = cursor.uint32();
    if (type === stringType) texts.set(key, cursor.text(quote(key), textLengthMax));
    else if (type === arrayType) {
      const { length, largest, isText } = readArray(cursor, key, textsLeft);
      lengths.set(key, length);
      numbers.set(key, largest);
      if (isText) textsLeft -= length;
    } else if (type === uint32Type || type === int32Type) numbers.set(key, cursor.uint32());
    else if (type === boolType) flags.set(key, cursor.bytes(1)[0] !== 0);
    else cursor.skip(scalarLength(type, key));
  }
  return {
    text: (key) => texts.get(key) ?? "",
    number: (key) => numbers.get(key) ?? 0,
    given: (key) => numbers.get(key),
    length: (key) => lengths.get(key) ?? 0,
    flag: (key) => flags.get(key),
  };
}

/** Lists as long as a model has layers are looked into: some models give a number for each layer. */
const numbersReadMax = 4_096;

function readArray(cursor: Cursor, key: string, textsLeft: number) {
  const type = cursor.uint32();
  const length = cursor.count(`elements in ${quote(key)}`, arrayLengthMax);
  const isText = type === stringType;
  let largest = 0;
  if (isText) {
    if (length > textsLeft) throw new Error(`its lists hold more than ${textsMax} texts`);
    for (let at = 0; at < length; at++) cursor.skipText(key);
  } else if ((type === uint32Type || type === int32Type) && length <= numbersReadMax) {
    for (let at = 0; at < length; at++) largest = Math.max(largest, cursor.uint32());
  } else {
    cursor.skip(scalarLength(type, key) * length);
  }
  return { length, largest, isText };
}

function scalarLength(type: number, key: string): number {
  const bytes = scalarBytes[type];
  if (bytes === undefined) throw new Error(`metadata ${quote(key)} has the unknown type ${type}`);
  return bytes;
}

interface Tensor {
  readonly name: string;
  readonly type: number;
  /** From the start of the tensors' data. */
  readonly offset: number;
  readonly bytes: number;
  readonly numbers: number;
}

function readTensors(cursor: Cursor, count: number): Tensor[] {
  if (count === 0) throw new Error("it has no tensors");
  const names = new Set<string>();
  return Array.from({ length: count }, () => {
    const tensor = readTensor(cursor);
    if (names.has(tensor.name)) throw new Error(`tensor ${quote(tensor.name)} is there twice`);
    names.add(tensor.name);
    return tensor;
  });
}

function readTensor(cursor: Cursor): Tensor {
  const name = cursor.text("tensor name", tensorNameBytesMax);
  const dimensions = cursor.uint32();
  if (dimensions > dimensionsMax)
    throw new Error(`tensor ${quote(name)} has ${dimensions} dimensions, at most ${dimensionsMax}`);
  let numbers = 1;
  let row = 1;
  for (let at = 0; at < dimensions; at++) {
    const length = cursor.count(`numbers in tensor ${quote(name)}`, Number.MAX_SAFE_INTEGER);
    if (length === 0) throw new Error(`tensor ${quote(name)} has no numbers`);
    if (at === 0) row = length;
    numbers *= length;
    if (!Number.isSafeInteger(numbers)) throw new Error(`tensor ${quote(name)} is larger than any file`);
  }
  const type = cursor.uint32();
  const block = tensorTypes[type];
  if (block === undefined)
    throw new Error(`tensor ${quote(name)} has the type ${type}, which this runtime does not know`);
  const [blockNumbers, blockBytes] = block;
  if (row % blockNumbers !== 0) {
    throw new Error(`tensor ${quote(name)} has rows of ${row} numbers, no multiple of the ${blockNumbers} in a block`);
  }
  const offset = cursor.count(`bytes before tensor ${quote(name)}`, Number.MAX_SAFE_INTEGER);
  return { name, type, offset, numbers, bytes: (numbers / blockNumbers) * blockBytes };
}

/** Where ggml reads a tensor from a mapped file; one that lies elsewhere ends the process. */
const mappedAlignmentBytes = 32;

/** Checks that each tensor lies within the file, where it can be read, and that no two lie over each other. */
function checkExtents(cursor: Cursor, tensors: readonly Tensor[], alignmentBytes: number): void {
  const start = Math.ceil(cursor.position / alignmentBytes) * alignmentBytes;
  let reached = 0;
  for (const { name, offset, bytes } of [...tensors].sort((a, b) => a.offset - b.offset)) {
    if (offset % alignmentBytes !== 0)
      throw new Error(`tensor ${quote(name)} begins at ${offset}, not at a multiple of ${alignmentBytes}`);
    if ((start + offset) % mappedAlignmentBytes !== 0) {
      const where = `tensor ${quote(name)} begins at byte ${start + offset}, not at a multiple of ${mappedAlignmentBytes}`;
      throw new Error(`${where} (general.alignment is ${alignmentBytes}): llama.cpp cannot read it there`);
    }
    const end = start + offset + bytes;
    if (end > cursor.sizeBytes) {
      throw new Error(`the file is truncated: tensor ${quote(name)} ends at byte ${end} of ${cursor.sizeBytes}`);
    }
    if (offset < reached) throw new Error(`tensor ${quote(name)} lies over another one`);
    reached = offset + bytes;
  }
}
