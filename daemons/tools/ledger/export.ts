import type { Entry } from "./entry.ts";
import type { Seal } from "./head.ts";
import { nothing } from "./segment.ts";
import type { Table } from "./table.ts";

/** JSON of the entries in one answer, characters. */
const lengthMax = 2_000_000;

/** Entries that are read at once. */
const batchLength = 200;

/** A piece of the ledger for a copy elsewhere. */
export interface Exported {
  /** PEM, of the key that signs now. */
  readonly publicKey: string;
  /** Where the chain begins: the last entry that is not there any more; 0 and 32 zero bytes when all are. */
  readonly base: { readonly sequence: number; readonly hash: string };
  readonly head: { readonly sequence: number; readonly hash: string; readonly signature: string };
  /** As they are hashed, bytes as hexadecimal text. */
  readonly entries: readonly Readonly<Record<string, unknown>>[];
  /** Asks for what follows; 0 when nothing does. */
  readonly next: number;
}

/** The entries after `after` and up to `until`, as many as one answer holds. */
export function exportFrom(table: Table, seal: Seal, after: number, until: number): Exported {
  const base = table.base() ?? nothing;
  const head = table.head();
  const entries: Readonly<Record<string, unknown>>[] = [];
  let length = 0;
  let at = Math.max(after, base.last);
  for (let more = true; more; ) {
    const batch = table.after(at, batchLength).filter(({ sequence }) => sequence <= until);
    more = batch.length === batchLength;
    for (const entry of batch) {
      const plain = plainOf(entry);
      length += JSON.stringify(plain).length;
      if (length > lengthMax && entries.length > 0) return { ...whole(), next: at };
      entries.push(plain);
      at = entry.sequence;
    }
  }
  return { ...whole(), next: 0 };

  function whole() {
    return {
      publicKey: seal.publicKey,
      base: { sequence: base.last, hash: base.hash.toString("hex") },
      head: {
        sequence: head?.sequence ?? 0,
        hash: head?.hash.toString("hex") ?? "",
        signature: head?.signature.toString("hex") ?? "",
      },
      entries,
    };
  }
}

const plainOf = (entry: Entry) => ({
  ...entry,
  previous: entry.previous.toString("hex"),
  hash: entry.hash.toString("hex"),
});
