/**
 * What is to take the stores' place, a kept backup or an archive (`memory restore --from`), is copied and checked in a
 * folder that gets its name by one rename; the next start takes the stores out of it. Goals of an archive come back
 * paused: another machine's ledger does not know what was done for them.
 */
import { existsSync, mkdirSync, renameSync, rmSync, statfsSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import type { Clock } from "#lib/clock";
import { filesOf } from "#lib/data/damaged";
import { isFullDisk } from "#lib/data/disk";
import { syncFolder } from "#lib/data/files";
import { openDatabase, type Sqlite } from "#lib/data/sqlite";
import { AiosError, messageOf } from "#lib/errors";
import { readArchive } from "./archive-reader.ts";
import { type Backup, backupName } from "./backup-files.ts";
import type { Check } from "./check.ts";
import { functions } from "./migrations/index.ts";
import { incomingBeside } from "./place.ts";
import type { Store } from "./store.ts";

/** A folder that fills with copies, and takes its name when they are all there. */
interface Incoming {
  readonly folder: string;
  /** Gives it its name: the next start takes what is in it. */
  finish(): void;
  /** Removes what was not finished. */
  clear(): void;
}

/** The space that stays free on the disk, bytes. */
const spareBytes = 67_108_864;

/** Begins anew, beside the backups: what was not finished before is gone. */
export function openIncoming(backups: string): Incoming {
  const ready = incomingBeside(backups);
  const folder = `${ready}.unfinished`;
  const clear = () => rmSync(folder, { recursive: true, force: true });
  clear();
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return {
    folder,
    clear,
    finish: () => {
      syncFolder(folder);
      rmSync(ready, { recursive: true, force: true });
      renameSync(folder, ready);
      syncFolder(dirname(ready));
    },
  };
}

interface Received {
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly incoming: Incoming;
  readonly stores: readonly Store[];
  readonly check: Check;
  readonly clock: Clock;
}

/** Reads an archive into the folder, checks what came, pauses its goals, and lets the next start take it. */
export async function receiveBackup({ chunks, incoming, stores, check, clock }: Received): Promise<Backup> {
  const { folder } = incoming;
  const fileOf = (name: string) => join(folder, `${name}.db`);
  try {
    for await (const { name, size, content } of readArchive(chunks, foreign)) {
      const store = stores.find((one) => name.endsWith(`/${one.name}.db`));
      if (store === undefined || existsSync(fileOf(store.name))) throw foreign(`it holds ${JSON.stringify(name)}`);
      roomFor(size, folder);
      await write(fileOf(store.name), content);
    }
    for (const store of stores) await accept(store, fileOf(store.name), check);
    const bytes = stores.reduce((sum, { name }) => sum + statSync(fileOf(name)).size, 0);
    incoming.finish();
    const at = clock.now();
    return { name: backupName(at), folder, createdAt: at, bytes, stores: stores.map(({ name }) => name).sort() };
  } catch (error) {
    throw isFullDisk(error) ? noRoom(messageOf(error)) : error;
  } finally {
    incoming.clear();
  }
}

async function write(path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const file: FileHandle = await open(path, "wx", 0o600);
  try {
    for await (const piece of content) await file.writeFile(piece);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Checks a store's copy whole, brings it to the present schema, and pauses the goals in it. */
async function accept(store: Store, path: string, check: Check): Promise<void> {
  if (!existsSync(path)) throw foreign(`the store ${store.name} is missing`);
  const problem = await check(path).catch(messageOf);
  if (problem !== undefined) throw foreign(`the store ${store.name} is not in order: ${problem}`);
  const copy = openCopy(store, path);
  try {
    const tables = (one: Sqlite) =>
      new Set(one.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all());
    const missing = [...tables(store.database)].filter((name) => !tables(copy).has(name));
    if (missing.length > 0) throw foreign(`the store ${store.name} has no ${missing.join(", ")}`);
    if (tables(copy).has("goals")) copy.prepare(pauseGoals).run();
  } finally {
    copy.close();
  }
  for (const leftover of filesOf(path).slice(1)) rmSync(leftover, { force: true });
}

/** The tools' ledger of another machine does not know what was done for them: a person says whether they go on. */
const pauseGoals =
  "UPDATE goals SET status = 'paused' WHERE status IN ('pending', 'planning', 'awaiting_input', 'in_progress')";

/** Opens the copy, and brings it to the present schema. */
function openCopy({ name, migrations }: Store, path: string): Sqlite {
  const version = versionOf(path);
  if (version === 0) throw foreign(`${name}.db is a database of something else`);
  if (version > migrations.length) {
    throw new AiosError("FAILED_PRECONDITION", {
      ...act,
      reason: `it was written by a newer version (schema ${version} of ${name}, this machine knows ${migrations.length})`,
      next: "update this machine first; nothing was changed",
    });
  }
  return openDatabase(path, migrations, { functions });
}

function versionOf(path: string): number {
  const database = new Database(path, { readonly: true });
  try {
    return database.pragma("user_version", { simple: true }) as number;
  } finally {
    database.close();
  }
}

const act = { act: "restore", object: "the archive" } as const;

function foreign(reason: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    ...act,
    reason,
    next: 'send a file that "aiosctl memory backup --to FILE" wrote; nothing was changed',
  });
}

function noRoom(reason: string): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    ...act,
    reason,
    next: "free space on the data partition; nothing was changed",
  });
}

function roomFor(size: number, folder: string): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < size + spareBytes)
    throw noRoom(`it needs ${size + spareBytes} bytes and ${bavail * bsize} are free`);
}
