/**
 * The ledger has an end and outlives its files. Signed segments are pruned by age and size; a signed base says where
 * the chain begins, and an entry what went.
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "#lib/clock";
import type { Sqlite } from "#lib/data/sqlite";
import type { Log } from "#lib/log";
import type { Commits } from "../state/index.ts";
import { type Entry, type Note, noteOf } from "./entry.ts";
import type { Seal } from "./head.ts";
import { baseOf, dayOf, type Segment } from "./segment.ts";
import type { Table } from "./table.ts";
import type { Witness } from "./witness.ts";

/** Of its volume, what the ledger takes at most. */
const shareMax = 0.1;

/** Segments that are pruned for their age at once, at most: a clock that is wrong for an hour costs no more than these. */
const agedAtOnceMax = 2;

/** Entries that are deleted in one commit, and pages that are given back: between two commits calls have their turn. */
const deletedAtOnce = 500;
const pagesAtOnce = 256;

/** How long the ledger is kept. */
export interface Keep {
  readonly ageMs: number;
  /** Of the file; a tenth of its volume unless said. */
  readonly bytesMax?: number;
}

interface Pruned {
  readonly database: Sqlite;
  readonly table: Table;
  readonly seal: Seal;
  readonly commits: Commits;
  readonly clock: Clock;
  readonly log: Log;
  readonly witness: Witness | undefined;
  /** Adds a note within a commit. */
  append(note: Note): Entry;
}

/**
 * Deletes the oldest closed segments that are older than they are kept, or that the file is too large with. An entry says what was
 * pruned, and the signed base where the chain begins now, so that it can be verified from there. Nothing is pruned that the console
 * has not seen. Returns the entries that were deleted.
 */
export async function pruneLedger(parts: Pruned, keep: Keep, signal: AbortSignal): Promise<number> {
  const { table, clock } = parts;
  let deleted = await forget(parts, signal);
  const firstDay = dayOf(clock.now() - keep.ageMs);
  const aged = prunable(parts).filter(({ day }) => day < firstDay);
  const last = aged.slice(0, agedAtOnceMax).at(-1);
  if (last !== undefined) deleted += await drop(parts, last, "it is older than it is kept", signal);
  for (;;) {
    const [oldest] = prunable(parts);
    if (oldest === undefined || usedBytes(parts) <= (keep.bytesMax ?? shareOfVolume(parts))) break;
    deleted += await drop(parts, oldest, "the ledger is as large as it may be", signal);
  }
  if (deleted > 0) await giveBack(parts, signal);
  parts.log.debug("the ledger was pruned", { deleted, from: table.base()?.last ?? 0 });
  return deleted;
}

/** Closed segments that the console has seen the end of, the oldest first. */
function prunable({ table, witness }: Pruned): readonly Segment[] {
  const seen = witness?.seen()?.sequence ?? Number.POSITIVE_INFINITY;
  return table.segments().filter(({ last }) => last <= seen);
}

async function drop(parts: Pruned, last: Segment, reason: string, signal: AbortSignal): Promise<number> {
  const { table, seal, commits, log, append } = parts;
  const { number, day, hash } = last;
  const output = JSON.stringify({ segment: number, day, last: last.last, hash: hash.toString("hex") });
  await commits.add(() => {
    append(noteOf({ kind: "pruned", reason, output }));
    table.setBase(baseOf(last, seal));
  });
  log.info("the ledger's oldest entries were pruned", { upTo: last.last, day, reason });
  return forget(parts, signal);
}

/** Deletes the entries that the base has left behind. */
async function forget({ table, commits }: Pruned, signal: AbortSignal): Promise<number> {
  for (let deleted = 0; ; ) {
    signal.throwIfAborted();
    const count = await commits.add(() => table.forget(deletedAtOnce));
    deleted += count;
    if (count < deletedAtOnce) return deleted;
  }
}

/** Gives free pages back to the file system, where the file was made for it. */
async function giveBack({ database, commits }: Pruned, signal: AbortSignal): Promise<void> {
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    signal.throwIfAborted();
    const left = free(database);
    if (left === 0 || left >= before) return;
    before = left;
    await commits.add(() => void database.pragma(`incremental_vacuum(${pagesAtOnce})`));
  }
}

const free = (database: Sqlite) => database.pragma("freelist_count", { simple: true }) as number;

function usedBytes({ database }: Pruned): number {
  const pages = (database.pragma("page_count", { simple: true }) as number) - free(database);
  return pages * (database.pragma("page_size", { simple: true }) as number);
}

function shareOfVolume({ database }: Pruned): number {
  const { blocks, bsize } = statfsSync(dirname(database.name));
  return blocks * bsize * shareMax;
}
