import { readSync } from "node:fs";
import { beginning } from "#lib/text";

/** Bytes of one text, and of a whole header: more than any real file has. */
export const textLengthMax = 1_048_576;
const headerBytesMax = 268_435_456;

/** A name from a file that may be hostile, fit for a message. */
export function quote(name: string): string {
  return JSON.stringify(beginning(name, 80));
}

/** Bytes read at once. */
const windowBytes = 1_048_576;

/** Reads a file from start to end without holding it. Throws when it ends too soon. */
export class Cursor {
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
    if (this.position > headerBytesMax) throw new Error(`its header has more than ${headerBytesMax} bytes`);
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

  /** Steps over a text of a list: a header has up to a million of these, so without a copy. */
  skipText(key: string): void {
    this.#need(8);
    const at = this.position - this.#windowStart;
    const bytes = this.#window.readUInt32LE(at);
    if (this.#window.readUInt32LE(at + 4) !== 0 || bytes > textLengthMax) {
      throw new Error(`it claims more than ${textLengthMax} bytes in an element of ${quote(key)}`);
    }
    this.position += 8;
    this.skip(bytes);
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
