import { existsSync } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { type Documents, openDocuments, type State } from "../../state/index.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { absolutePath, named, object, refused, showRemoval, timestamp, withEntry } from "../shared/index.ts";
import { archiveTimeoutMs, checkSum, pack, unpack } from "./archive.ts";
import { type KeepCopy, prepareReplace, settleReplace, undoReplace } from "./replace.ts";

/** Backups that are kept at most: more are refused, none is given up by itself. */
const backupsMax = 500;

/** Time that a place's content from before a restore is kept. */
const beforeKeptMs = 7 * 86_400_000;

interface Backup {
  readonly id: string;
  readonly path: string;
  readonly note: string;
  readonly created_at: number;
  /** Of the archive. */
  readonly bytes: number;
  /** Of what it holds. */
  readonly content_bytes: number;
  readonly entries: number;
  readonly sha256: string;
  /** Of what it holds. */
  readonly fingerprint: string;
}

const described = {
  id: Type.String(),
  path: Type.String(),
  note: Type.String(),
  created_at: timestamp,
  bytes: Type.Integer({ description: "of the archive" }),
  content_bytes: Type.Integer(),
  entries: Type.Integer({ description: "files, folders and links" }),
  sha256: Type.String(),
};

const id = Type.String({ pattern: "^[0-9a-f-]{36}$", description: "a backup's id" });

interface BackupWorld {
  readonly state: State;
  readonly clock: Clock;
  readonly paths: { readonly state: string };
}

export interface Store {
  readonly backups: Documents<Backup>;
  readonly clock: Clock;
  fileOf(id: string): string;
  beforeOf(executionId: string): string;
  /** The folder, made when missing and swept of what is too old to be undone. */
  ready(): Promise<void>;
}

/** Backups of files and folders, as archives in the machine's own state. */
export function backupTools(world: BackupWorld): readonly Tool[] {
  const store = openStore(world);
  return [createTool(store), listTool(store), restoreTool(store), removeTool(store)];
}

/** Packs what stands at a path into a backup of this id. */
async function keepBackup(store: Store, id: string, path: string, note: string, signal: AbortSignal): Promise<Backup> {
  const {
    sha256,
    entries,
    fingerprint,
    bytes: content_bytes,
    archiveBytes: bytes,
  } = await pack(path, store.fileOf(id), signal);
  const backup = { id, path, note, created_at: store.clock.now(), bytes, content_bytes, entries, sha256, fingerprint };
  await store.backups.put(id, backup);
  return backup;
}

/** Keeps what a forced rollback gives up as a backup like any other, under the id of the execution that is taken back. */
export const copyKeeper =
  (store: Store): KeepCopy =>
  async (path, executionId, signal) => {
    await store.ready();
    const note = `what stood there before ${executionId} was rolled back`;
    return (await keepBackup(store, executionId, path, note, signal)).fingerprint;
  };

export function openStore({ state, clock, paths }: BackupWorld): Store {
  const folder = `${paths.state}/backups`;
  return {
    backups: openDocuments<Backup>(state, "backup"),
    clock,
    fileOf: (id) => `${folder}/${id}.tar.gz`,
    beforeOf: (executionId) => `${folder}/before-${executionId}.tar.gz`,
    ready: async () => {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const name of await readdir(folder)) {
        const path = `${folder}/${name}`;
        const old = name.startsWith("before-") && (await stat(path)).mtimeMs < clock.now() - beforeKeptMs;
        if (old || name.endsWith(".partial")) await rm(path, { force: true });
      }
    },
  };
}

const createTool = (store: Store) =>
  changes({
    name: "backup.create",
    summary: "Backs up a file, or a folder with all that lies in it, into the machine's backups.",
    input: object({ path: absolutePath, note: Type.Optional(Type.String({ maxLength: 1024 })) }),
    output: object(described),
    resources: { path: "path" },
    uses: { path: "copy" },
    capabilities: ["backup:create:{path}"],
    undo: {
      prepare: async ({ executionId }) => ({ id: executionId }),
      restore: async ({ id }) => {
        await rm(store.fileOf(id), { force: true });
        await store.backups.remove(id);
      },
      settle: async ({ id }) => {
        if (store.backups.get(id) === undefined) await rm(store.fileOf(id), { force: true });
      },
    },
    risk: "low",
    timeoutMs: archiveTimeoutMs,
    idempotent: false,
    exclusive: "backups",
    run: ({ executionId: id, input: { note = "" }, resources: { path }, signal }) =>
      named("back up", path.path, async () => {
        await store.ready();
        if (store.backups.list(backupsMax).length === backupsMax) {
          throw refused("back up", path.path, `there are ${backupsMax} backups`, "remove some with backup.remove");
        }
        const { fingerprint: _, ...told } = await keepBackup(store, id, path.path, note, signal);
        return told;
      }),
  });

const listTool = (store: Store) =>
  reads({
    name: "backup.list",
    summary: "Lists the machine's backups, the newest first, all or those of one path.",
    input: object({ path: Type.Optional(absolutePath) }),
    output: object({
      backups: Type.Array(object({ ...described, present: Type.Boolean({ description: "its archive is there" }) })),
    }),
    capabilities: ["backup:read"],
    timeoutMs: 10_000,
    run: ({ input: { path } }) => ({
      backups: store.backups
        .list(backupsMax)
        .filter((one) => path === undefined || one.path === path)
        .map(({ fingerprint: _, ...one }) => ({ ...one, present: existsSync(store.fileOf(one.id)) })),
    }),
  });

const restoreTool = (store: Store) =>
  changes({
    name: "backup.restore",
    summary: "Puts what a backup holds at destination, in place of what stands there, which can be brought back.",
    input: object({ id, destination: absolutePath }),
    output: object({ restored: Type.Boolean(), entries: Type.Integer() }),
    resources: { destination: "entry" },
    capabilities: ["backup:restore:{destination}"],
    undo: {
      prepare: ({ executionId, input: { id }, resources: { destination }, signal }) =>
        named("back up", destination.path, async () => {
          await store.ready();
          // Before the old is packed: a backup that is broken changes nothing.
          await checkSum(store.fileOf(id), backupOf(store, id).sha256, signal);
          const { fingerprint } = backupOf(store, id);
          return prepareReplace(destination.path, fingerprint, store.beforeOf(executionId), signal);
        }),
      restore: undoReplace(copyKeeper(store)),
      settle: settleReplace,
    },
    risk: "high",
    timeoutMs: archiveTimeoutMs,
    idempotent: true,
    exclusive: "backups",
    preview: async ({ input: { id }, resources: { destination }, signal }) => {
      const { path, entries, content_bytes: bytes } = backupOf(store, id);
      const gone = await withEntry(destination.path, (entry) => showRemoval(entry, signal));
      return `${gone}\n+ ${destination.path}, ${entries} entries, ${bytes} bytes, as the backup of ${path} holds it`;
    },
    run: ({ executionId, input: { id }, resources: { destination }, signal }, plan) =>
      named("restore", destination.path, async () => {
        const { entries } = backupOf(store, id);
        await unpack(store.fileOf(id), destination.path, plan?.before?.fingerprint, executionId, signal);
        return { restored: true, entries };
      }),
  });

const removeTool = (store: Store) =>
  changes({
    name: "backup.remove",
    summary: "Removes a backup for good.",
    input: object({ id }),
    output: object({ removed: Type.Boolean(), freed_bytes: Type.Integer() }),
    capabilities: ["backup:remove"],
    whenFull: "as ever",
    irreversible: "a backup is removed to make room, so no copy of it is kept",
    risk: "critical",
    timeoutMs: 30_000,
    idempotent: false,
    confirmation: true,
    exclusive: "backups",
    preview: async ({ input: { id } }) => {
      const { path, created_at: at, bytes, note } = backupOf(store, id);
      return `removes the backup of ${path} of ${new Date(at).toISOString()}, ${bytes} bytes${note === "" ? "" : `: ${note}`}`;
    },
    run: async ({ input: { id } }) => {
      const { bytes } = backupOf(store, id);
      await rm(store.fileOf(id), { force: true });
      await store.backups.remove(id);
      return { removed: true, freed_bytes: bytes };
    },
  });

function backupOf(store: Store, id: string): Backup {
  const found = store.backups.get(id);
  if (found === undefined) throw refused("find backup", id, "there is none of this id", "see backup.list");
  return found;
}
