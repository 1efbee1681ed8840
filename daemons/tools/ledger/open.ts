/**
 * What cannot be read is moved aside (`lib/data/damaged.ts`, as memory does), the chain goes on behind the last head
 * that is known, and a fault stays a problem until an admin acknowledges it, which is an entry too.
 */
import { existsSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import type { Clock } from "#lib/clock";
import { openOrBegin } from "#lib/data/damaged";
import type { Sqlite } from "#lib/data/sqlite";
import type { Head, Seal } from "./head.ts";
import { type Ended, nothing } from "./segment.ts";
import { ledgerTable, migrations, type Table } from "./table.ts";
import type { Witnessed } from "./witness.ts";

interface LedgerFile {
  readonly database: Sqlite;
  readonly table: Table;
  /** It was not there, or empty. */
  readonly isNew: boolean;
  /** Why what was there could not be used, and where it is now. */
  readonly problem?: string;
  readonly aside?: string;
}

/** A loss in words for people, and the place where the chain goes on. */
interface Loss {
  readonly reason: string;
  readonly at: Ended;
}

/** Opens ledger.db in `folder`, made when missing. One that cannot be read is moved aside. */
export function openFile(folder: string, clock: Clock): LedgerFile {
  const path = `${folder}/ledger.db`;
  const isNew = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const begun = openOrBegin(path, migrations, clock, {
    // Pages that pruning frees go back to the file system.
    prepare: (fresh) => void fresh.pragma("auto_vacuum = INCREMENTAL"),
    probe: (opened) => probe(ledgerTable(opened)),
  });
  return { ...begun, table: ledgerTable(begun.database), isNew };
}

/**
 * What the start has found to be lost: a file that could not be used, or one that is empty while its key, or somebody who has seen
 * its head, says that there was more. The chain goes on behind the last head that is known.
 */
export function lossOf(
  { isNew, problem, aside }: LedgerFile,
  seal: Seal,
  seen: readonly Witnessed[],
): Loss | undefined {
  const wasMore = !seal.isNew || seen.some(({ sequence }) => sequence > 0);
  if (problem === undefined && !(isNew && wasMore)) return undefined;
  const at = lastKnown(aside, seal, seen);
  const known = at.last === 0 ? "no head of it is known" : `it went up to entry ${at.last}, ${at.hash.toString("hex")}`;
  const where = aside === undefined ? "" : `; what was there is in ${aside}`;
  return {
    reason: `the ledger could not be read (${problem ?? "its file was missing or empty"}): ${known}${where}`,
    at,
  };
}

/** Reads what the start needs. */
function probe(table: Table): void {
  table.head();
  table.last();
  table.segments();
  table.openIntents();
  table.base();
  table.acknowledged();
}

/** The furthest head that is known and signed, as the end of what is gone. */
function lastKnown(aside: string | undefined, seal: Seal, seen: readonly Head[]): Ended {
  const left = aside === undefined ? undefined : salvage(aside);
  const heads = [left?.head, ...seen].filter((head) => head !== undefined && seal.fits(head));
  const head = heads.reduce(
    (far, one) => (far === undefined || (one?.sequence ?? 0) > far.sequence ? one : far),
    undefined,
  );
  if (head === undefined) return nothing;
  const { number, signature } = left?.segment ?? nothing;
  return { number: number + 1, last: head.sequence, hash: head.hash, signature };
}

/** The head and the last closed segment of a damaged file, if they can still be read. */
function salvage(path: string): { head: Head | undefined; segment: Ended | undefined } | undefined {
  if (!existsSync(path)) return undefined;
  let database: Sqlite | undefined;
  try {
    database = new Database(path, { readonly: true, fileMustExist: true });
    const head = database.prepare<[], Head>("SELECT sequence, hash, signature FROM head").get();
    const segment = database.prepare<[], Ended>("SELECT * FROM segment ORDER BY number DESC LIMIT 1").get();
    return { head, segment };
  } catch {
    return undefined;
  } finally {
    database?.close();
  }
}
