import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rm } from "node:fs/promises";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { syncFolder } from "#lib/files";
import type { Sqlite } from "#lib/sqlite";

/** The largest file that is backed up; a change to a larger one is refused. */
export const backupSizeMaxBytes = 64 * 1024 * 1024;

/** All backups together; beyond it the oldest can no longer be undone. */
const backupsMaxBytes = 1024 * 1024 * 1024;

/** Plans are kept this long. */
const keptMs = 7 * 86_400_000;

/** Backup files of one execution. */
export interface Backups {
  /** Copies what `source`, the file at `path`, holds to the backup `name`, durably. Returns its SHA-256. Throws when it is larger than 64 MiB. */
  save(name: string, source: FileHandle, path: string): Promise<string>;
  open(name: string): Promise<FileHandle>;
}

/** An undo plan as it is kept. */
export interface Prepared {
  readonly executionId: string;
  readonly tool: string;
  /** Capabilities that the call needed: an agent that rolls it back needs them still. */
  readonly needs: readonly string[];
  /** What the call held while it acted; its undo holds the same. */
  readonly locks: readonly string[];
  readonly plan: unknown;
  /** "ready", "undone", or "expired" when its backup had to make room. */
  readonly state: "ready" | "undone" | "expired";
}

export interface Undos {
  backups(executionId: string): Backups;
  /** Keeps a plan, durably. */
  keep(plan: Omit<Prepared, "state">): Promise<void>;
  find(executionId: string): Prepared | undefined;
  /** Marks a plan as carried out, and removes its backups. */
  undone(executionId: string): Promise<void>;
}

interface Row {
  readonly executionId: string;
  readonly tool: string;
  readonly needs: string;
  readonly locks: string;
  readonly plan: string;
  readonly preparedAt: number;
  readonly bytes: number;
  readonly state: Prepared["state"];
}

/** Undo plans in `database`, their backups in `folder`: one folder per execution. */
export async function openUndos(
  database: Sqlite,
  folder: string,
  clock: Clock,
  totalMaxBytes = backupsMaxBytes,
): Promise<Undos> {
  const insert = database.prepare<[Row], void>(
    "INSERT INTO undo VALUES (@executionId, @tool, @needs, @locks, @plan, @preparedAt, @bytes, @state)",
  );
  const select = database.prepare<[string], Row>("SELECT * FROM undo WHERE executionId = ?");
  const setState = database.prepare("UPDATE undo SET state = ?, bytes = 0 WHERE executionId = ?");
  const outdated = database.prepare<[number], Row>("SELECT * FROM undo WHERE preparedAt < ?");
  const forget = database.prepare("DELETE FROM undo WHERE preparedAt < ?");
  const oldest = database.prepare<[], Row>("SELECT * FROM undo WHERE bytes > 0 ORDER BY preparedAt LIMIT 1");
  const sum = database.prepare<[], { bytes: number }>("SELECT coalesce(sum(bytes), 0) AS bytes FROM undo");

  const folderOf = (executionId: string) => `${folder}/${executionId}`;
  const discard = (executionId: string) => rm(folderOf(executionId), { recursive: true, force: true });
  const savedBytes = new Map<string, number>();
  let totalBytes = sum.get()?.bytes ?? 0;

  /** Makes room by giving up the oldest backups. */
  const prune = async () => {
    while (totalBytes > totalMaxBytes) {
      const row = oldest.get();
      if (row === undefined) return;
      setState.run("expired", row.executionId);
      totalBytes -= row.bytes;
      await discard(row.executionId);
    }
  };

  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const { executionId, bytes } of outdated.all(clock.now() - keptMs)) {
    totalBytes -= bytes;
    await discard(executionId);
  }
  forget.run(clock.now() - keptMs);
  // Backups whose plan was never kept belong to acts that never began.
  for (const name of await readdir(folder)) if (select.get(name) === undefined) await discard(name);

  return {
    backups: (executionId) => ({
      save: async (name, source, path) => {
        await mkdir(folderOf(executionId), { recursive: true, mode: 0o700 });
        try {
          const { bytes, sha256 } = await copy(source, path, `${folderOf(executionId)}/${name}`);
          savedBytes.set(executionId, (savedBytes.get(executionId) ?? 0) + bytes);
          syncFolder(folderOf(executionId));
          syncFolder(folder);
          return sha256;
        } catch (error) {
          savedBytes.delete(executionId);
          await discard(executionId);
          throw error;
        }
      },
      open: (name) => open(`${folderOf(executionId)}/${name}`, "r"),
    }),
    keep: async ({ executionId, tool, needs, locks, plan }) => {
      const bytes = savedBytes.get(executionId) ?? 0;
      savedBytes.delete(executionId);
      insert.run({
        executionId,
        tool,
        needs: JSON.stringify(needs),
        locks: JSON.stringify(locks),
        plan: JSON.stringify(plan),
        preparedAt: clock.now(),
        bytes,
        state: "ready",
      });
      totalBytes += bytes;
      await prune();
    },
    find: (executionId) => {
      const row = select.get(executionId);
      return row && { ...row, needs: JSON.parse(row.needs), locks: JSON.parse(row.locks), plan: JSON.parse(row.plan) };
    },
    undone: async (executionId) => {
      totalBytes -= select.get(executionId)?.bytes ?? 0;
      setState.run("undone", executionId);
      await discard(executionId);
    },
  };
}

/** Copies a file, durably. */
async function copy(source: FileHandle, path: string, to: string): Promise<{ bytes: number; sha256: string }> {
  const target = await open(to, "wx", 0o600);
  try {
    const content = createHash("sha256");
    const chunk = Buffer.allocUnsafe(65_536);
    let bytes = 0;
    for (;;) {
      const { bytesRead } = await source.read(chunk, 0, chunk.length, bytes);
      if (bytesRead === 0) break;
      bytes += bytesRead;
      if (bytes > backupSizeMaxBytes) throw tooLarge(path);
      content.update(chunk.subarray(0, bytesRead));
      await target.writeFile(chunk.subarray(0, bytesRead));
    }
    await target.sync();
    return { bytes, sha256: content.digest("hex") };
  } finally {
    await target.close();
  }
}

function tooLarge(path: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "back up",
    object: path,
    reason: `larger than ${backupSizeMaxBytes} bytes, so the change could not be undone`,
    next: "the file is unchanged",
  });
}
