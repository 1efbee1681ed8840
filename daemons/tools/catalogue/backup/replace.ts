import { rm } from "node:fs/promises";
import { errnoOf } from "#lib/errors";
import type { UndoCall } from "../../tool.ts";
import { changedSince, removeEntry, temporaryOf, withEntry } from "../fs/entry.ts";
import { undoSignal } from "../program.ts";
import { checkSum, pack, unpack } from "./archive.ts";

/** What is needed to take back that an archive was put in place of what stood at a path. */
export interface ReplacePlan {
  readonly destination: string;
  /** An archive of what stood there. */
  readonly before?: { readonly file: string; readonly sha256: string };
}

/** Packs what stands at the destination, so that it can come back. */
export async function prepareReplace(destination: string, file: string, signal: AbortSignal): Promise<ReplacePlan> {
  const stands = await withEntry(destination, async ({ found }) => found !== undefined);
  if (!stands) return { destination };
  const { sha256 } = await pack(destination, file, signal);
  return { destination, before: { file, sha256 } };
}

/** Puts back what stood there, also when it was changed since: a restored tree is expected to be used. */
export async function undoReplace({ destination, before }: ReplacePlan, { executionId }: UndoCall): Promise<void> {
  const signal = undoSignal();
  if (before === undefined) return withEntry(destination, (entry) => removeEntry(entry, signal));
  await checkSum(before.file, before.sha256, signal);
  await unpack(before.file, destination, executionId, signal);
  await rm(before.file, { force: true });
}

/** After a crash: what was unpacked beside goes, and what had been removed already comes back. */
export async function settleReplace(plan: ReplacePlan, { executionId }: UndoCall): Promise<void> {
  try {
    const gone = await withEntry(plan.destination, async (entry) => {
      await removeEntry(temporaryOf(entry, executionId), undoSignal());
      return entry.found === undefined;
    });
    if (gone && plan.before !== undefined) await unpack(plan.before.file, plan.destination, executionId, undoSignal());
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
