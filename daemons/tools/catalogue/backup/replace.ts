import { rm } from "node:fs/promises";
import { errnoOf } from "#lib/errors";
import type { UndoCall } from "../../tool.ts";
import {
  changedSince,
  exchange,
  lookAt,
  measure,
  refused,
  removeEntry,
  settleAside,
  temporaryOf,
  undoSignal,
  withEntry,
} from "../shared/index.ts";
import { checkSum, pack, unpack } from "./archive.ts";

/** The means to take back that an archive was put in place of what stood at a path. */
interface ReplacePlan {
  readonly destination: string;
  /** Fingerprint of what was put there. */
  readonly restored: string;
  /** An archive of what stood there. */
  readonly before?: { readonly file: string; readonly sha256: string; readonly fingerprint: string };
}

/** Packs what stands at the destination, so that it can come back. `restored` is the fingerprint of what will stand there. */
export async function prepareReplace(
  destination: string,
  restored: string,
  file: string,
  signal: AbortSignal,
): Promise<ReplacePlan> {
  const stands = await withEntry(destination, async ({ found }) => found !== undefined);
  if (!stands) return { destination, restored };
  const { sha256, fingerprint } = await pack(destination, file, signal);
  return { destination, restored, before: { file, sha256, fingerprint } };
}

/** Keeps a copy of what stands at a path, under an execution's id; returns its fingerprint. */
export type KeepCopy = (path: string, executionId: string, signal: AbortSignal) => Promise<string>;

/**
 * Puts back what stood there. Where something was changed since the restore it is refused, unless it is forced: then a copy
 * of what is there is kept first.
 */
export const undoReplace =
  (keep: KeepCopy) =>
  async ({ destination, restored, before }: ReplacePlan, { executionId, force = false }: UndoCall): Promise<void> => {
    const signal = undoSignal();
    if (before !== undefined) await checkSum(before.file, before.sha256, signal);
    let stood = await withEntry(destination, async (entry) =>
      entry.found === undefined ? undefined : (await measure(entry, signal)).fingerprint,
    );
    if (stood !== undefined && stood !== restored) {
      if (!force) throw newer(destination);
      stood = await keep(destination, executionId, signal);
    }
    const how = { act: "restore", stood, executionId, signal };
    if (before === undefined) return withEntry(destination, (entry) => exchange(entry, how));
    await unpack(before.file, destination, stood, executionId, signal);
    await rm(before.file, { force: true });
  };

const newer = (path: string) =>
  refused(
    "restore",
    path,
    "something there was changed since it was restored",
    "roll back with --force to give that up too: a copy of it is kept, which backup.list tells of",
  );

/** After a crash: what was unpacked beside goes, and what had been put aside already comes back. */
export async function settleReplace({ destination, before }: ReplacePlan, { executionId }: UndoCall): Promise<void> {
  const signal = undoSignal();
  try {
    const gone = await withEntry(destination, async (entry) => {
      await removeEntry(temporaryOf(entry, executionId), signal);
      await settleAside(entry, executionId, signal);
      return (await lookAt(entry.place)) === undefined;
    });
    // Where it could not be put aside it was removed at once.
    if (gone && before !== undefined) await unpack(before.file, destination, undefined, executionId, signal);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

/** Removes an archive that nobody changed since. */
export async function undoPack(file: string, sha256: string): Promise<void> {
  await withEntry(file, async (entry) => {
    if (entry.found === undefined) return;
    await checkSum(file, sha256, undoSignal()).catch(() => {
      throw changedSince("remove", file);
    });
    await removeEntry(entry, undoSignal());
  });
}
