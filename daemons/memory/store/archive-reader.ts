import type { AiosError } from "#lib/errors";

const blockBytes = 512;

interface ArchivedFile {
  readonly name: string;
  readonly size: number;
  /** To be read before the next file is asked for. */
  readonly content: AsyncIterable<Uint8Array>;
}

type Refuse = (reason: string) => AiosError;

/** The files of a POSIX (ustar) archive that comes in pieces, as `archiveOf` writes it. Throws what `refuse` makes of a fault in it. */
export async function* readArchive(chunks: AsyncIterable<Uint8Array>, refuse: Refuse): AsyncGenerator<ArchivedFile> {
  const source = piecesOf(chunks, refuse);
  for (;;) {
    const header = await source.take(blockBytes);
    if (header.every((byte) => byte === 0)) break;
    const { name, size } = readHeader(header, refuse);
    let left = size;
    const content = async function* () {
      while (left > 0) {
        const piece = await source.some(left);
        left -= piece.length;
        yield piece;
      }
    };
    yield { name, size, content: content() };
    if (left > 0) throw refuse(`${name} was not read to its end`);
    await source.take((blockBytes - (size % blockBytes)) % blockBytes);
  }
  if ((await source.take(blockBytes)).some((byte) => byte !== 0)) throw refuse("its end is damaged");
  if (!(await source.over())) throw refuse("something follows its end");
}

/** Bytes in the order they come, as many as are asked for. */
function piecesOf(chunks: AsyncIterable<Uint8Array>, refuse: Refuse) {
  const iterator = chunks[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array();
  const fill = async () => {
    while (rest.length === 0) {
      const { done, value } = await iterator.next();
      if (done === true) return false;
      rest = value;
    }
    return true;
  };
  const some = async (most: number): Promise<Uint8Array> => {
    if (!(await fill())) throw refuse("it is cut off");
    const piece = rest.subarray(0, most);
    rest = rest.subarray(piece.length);
    return piece;
  };
  const take = async (count: number): Promise<Buffer> => {
    const pieces: Uint8Array[] = [];
    for (let left = count; left > 0; left -= pieces.at(-1)?.length ?? 0) pieces.push(await some(left));
    return Buffer.concat(pieces);
  };
  return { some, take, over: async () => !(await fill()) };
}

function readHeader(block: Buffer, refuse: Refuse): { name: string; size: number } {
  const text = (at: number, length: number) => (block.toString("latin1", at, at + length).split("\0")[0] ?? "").trim();
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  if (text(257, 5) !== "ustar" || Number.parseInt(text(148, 8), 8) !== sum) throw refuse("it is no such archive");
  const isBinary = ((block[124] ?? 0) & 0x80) !== 0;
  const size = isBinary ? Number(block.readBigUInt64BE(128)) : Number.parseInt(text(124, 12), 8);
  if (!Number.isSafeInteger(size) || size < 0) throw refuse("a size in it is none");
  return { name: text(0, 100), size };
}
