import { createReadStream } from "node:fs";
import { join } from "node:path";
import type { Backup } from "../store/index.ts";

const blockBytes = 512;
const chunkBytes = 262_144;

/** A backup as a POSIX (ustar) archive of its databases, in chunks. */
export async function* archiveOf(backup: Backup, sizeOf: (file: string) => number): AsyncGenerator<Buffer> {
  for (const store of backup.stores) {
    const file = join(backup.folder, `${store}.db`);
    const size = sizeOf(file);
    yield header(`${backup.name}/${store}.db`, size, backup.createdAt);
    for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes })) yield chunk as Buffer;
    const rest = size % blockBytes;
    if (rest > 0) yield Buffer.alloc(blockBytes - rest);
  }
  yield Buffer.alloc(2 * blockBytes);
}

/** The header of a file in the archive: numbers are octal, the checksum is over itself as spaces. */
function header(name: string, size: number, atMs: number): Buffer {
  const block = Buffer.alloc(blockBytes);
  block.write(name, 0, 100, "utf8");
  const octal = (value: number, at: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, length, "latin1");
  octal(0o600, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  // Past 8 GiB octal digits do not suffice: then the number is binary, with its first bit set.
  if (size < 8 ** 11) octal(size, 124, 12);
  else {
    block[124] = 0x80;
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  octal(Math.floor(atMs / 1000), 136, 12);
  block.write("        0", 148, 9, "latin1");
  block.write("ustar\x0000", 257, 8, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8, "latin1");
  return block;
}
