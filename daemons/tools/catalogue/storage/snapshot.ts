import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { type Documents, openDocuments, type State } from "../../state/index.ts";
import { changes, type Tool } from "../../tool.ts";
import {
  archiveTimeoutMs,
  copyKeeper,
  openStore,
  pack,
  prepareReplace,
  type Store,
  settleReplace,
  sumOf,
  undoPack,
  undoReplace,
  unpack,
} from "../backup/index.ts";
import { absolutePath, named, object, refused, showRemoval, withEntry } from "../shared/index.ts";

/** Snapshots whose archives are known again at most. */
const snapshotsMax = 1_000;

/** An archive that this machine made: no other is unpacked, since an archive can hold programs with root's rights. */
interface Snapshot {
  readonly sha256: string;
  /** Of what it holds. */
  readonly fingerprint: string;
  readonly source: string;
  readonly made_at: number;
}

export interface SnapshotWorld {
  readonly state: State;
  readonly clock: Clock;
  readonly paths: { readonly state: string };
}

const archivePath = Type.String({
  pattern: "^/.*[^/]\\.tar\\.gz$",
  maxLength: 4096,
  description: "the absolute path of a .tar.gz file",
});

/** A file or folder into an archive at a place of the caller's choice, such as another disk, and back. */
export function snapshotTools(world: SnapshotWorld): readonly Tool[] {
  const snapshots = openDocuments<Snapshot>(world.state, "snapshot");
  return [snapshotTool(snapshots, world.clock), restoreTool(snapshots, openStore(world))];
}

const snapshotTool = (snapshots: Documents<Snapshot>, clock: Clock) =>
  changes({
    name: "storage.snapshot",
    summary:
      "Packs a file, or a folder with all that lies in it, into an archive file (.tar.gz) where nothing stands yet.",
    input: object({ path: absolutePath, archive: archivePath }),
    output: object({ sha256: Type.String(), bytes: Type.Integer(), entries: Type.Integer() }),
    resources: { path: "path", archive: "entry" },
    uses: { path: "copy" },
    capabilities: ["storage:snapshot:{path}", "fs:write:{archive}"],
    undo: {
      prepare: async ({ resources: { archive } }) => {
        checkNew(archive.path, await stands(archive.path));
        return { archive: archive.path };
      },
      restore: async ({ archive }, { executionId }) => {
        const made = snapshots.get(executionId);
        if (made !== undefined) await undoPack(archive, made.sha256);
      },
    },
    risk: "medium",
    timeoutMs: archiveTimeoutMs,
    idempotent: false,
    preview: async ({ resources: { path, archive } }) => `+ ${archive.path}, a copy of what lies at ${path.path}`,
    run: ({ executionId, resources: { path, archive }, signal }) =>
      named("pack", path.path, async () => {
        checkNew(archive.path, await stands(archive.path));
        if (archive.path.startsWith(`${path.path}/`)) throw refused("pack", path.path, "the archive would lie in it");
        const { sha256, fingerprint, archiveBytes: bytes, entries } = await pack(path.path, archive.path, signal);
        await snapshots.put(executionId, { sha256, fingerprint, source: path.path, made_at: clock.now() });
        await snapshots.keep(snapshotsMax);
        return { sha256, bytes, entries };
      }),
  });

const restoreTool = (snapshots: Documents<Snapshot>, store: Store) =>
  changes({
    name: "storage.restore",
    summary:
      "Puts what an archive of storage.snapshot holds at path, in place of what stands there, which can be brought back.",
    input: object({ archive: archivePath, path: absolutePath }),
    output: object({ restored: Type.Boolean() }),
    resources: { archive: "path", path: "entry" },
    uses: { archive: "read" },
    capabilities: ["storage:restore:{path}", "fs:read:{archive}"],
    undo: {
      prepare: ({ executionId, resources: { archive, path }, signal }) =>
        named("back up", path.path, async () => {
          const { fingerprint } = await known(snapshots, archive.path, signal);
          await store.ready();
          return prepareReplace(path.path, fingerprint, store.beforeOf(executionId), signal);
        }),
      restore: undoReplace(copyKeeper(store)),
      settle: settleReplace,
    },
    exclusive: "backups",
    risk: "high",
    timeoutMs: archiveTimeoutMs,
    idempotent: true,
    preview: async ({ resources: { archive, path }, signal }) => {
      await known(snapshots, archive.path, signal);
      return `${await withEntry(path.path, (entry) => showRemoval(entry, signal))}\n+ ${path.path}, as ${archive.path} holds it`;
    },
    run: ({ executionId, resources: { archive, path }, signal }, plan) =>
      named("restore", path.path, async () => {
        await unpack(archive.path, path.path, plan?.before?.fingerprint, executionId, signal);
        return { restored: true };
      }),
  });

async function known(snapshots: Documents<Snapshot>, archive: string, signal: AbortSignal): Promise<Snapshot> {
  const { sha256 } = await sumOf(archive, signal);
  const found = snapshots.list(snapshotsMax).find((one) => one.sha256 === sha256);
  if (found !== undefined) return found;
  throw refused(
    "restore from",
    archive,
    "it is no archive that this machine made, or it was changed since",
    "unpack foreign archives by hand",
  );
}

const stands = (path: string) => withEntry(path, async ({ found }) => found !== undefined);

function checkNew(archive: string, exists: boolean): void {
  if (exists) throw refused("write", archive, "it exists already", "name a new file");
}
