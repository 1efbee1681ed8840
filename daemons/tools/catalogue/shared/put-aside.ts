/**
 * What is taken away is put aside first. A folder that is deleted, or replaced by a restore, is renamed beside its
 * place and looked at there: where its fingerprint is not that of what was kept, another has written to it meanwhile;
 * it comes back, and the call is refused.
 */
import { rename } from "node:fs/promises";
import { errnoOf } from "#lib/errors";
import { type Entry, lookAt, refused, removeEntry, temporaryOf } from "./entry.ts";
import { measure } from "./tree.ts";

/** Puts aside what is taken away, where nobody adds to it unseen, and looks at it there: what another has added is not lost. */

interface Exchange {
  readonly act: string;
  /** Fingerprint of what is to go; undefined when nothing stands there. */
  readonly stood: string | undefined;
  /** The path of what comes in its place, if anything. */
  readonly next?: string;
  readonly executionId: string;
  readonly signal: AbortSignal;
}

/**
 * Puts `next`, or nothing, in an entry's place: a file in that of a file at once. Throws FAILED_PRECONDITION, and has changed
 * nothing, when by now something else stands there than `stood`.
 */
export async function exchange(entry: Entry, { act, stood, next, executionId, signal }: Exchange): Promise<void> {
  await settleAside(entry, executionId, signal);
  const aside = asideOf(entry, executionId);
  const found = await lookAt(entry.place);
  const isAside = found?.isDirectory() === true && (await moved(entry.place, aside.place));
  try {
    const there = { ...(isAside ? aside : entry), found };
    const print = found === undefined ? undefined : (await measure(there, signal)).fingerprint;
    if (print !== stood) throw changedMeanwhile(act, entry.path);
    const isReplaced = !isAside && next !== undefined && (await areFiles(entry.place, next));
    if (found !== undefined && !isAside && !isReplaced) await removeEntry(entry, signal);
    if (next !== undefined) await (isReplaced ? rename(next, entry.place) : renameFree(next, entry));
  } catch (error) {
    if (isAside) await renameFree(aside.place, entry, `; what stood there is ${aside.path} now`);
    throw error;
  }
  if (isAside) await removeEntry(aside, signal);
}

async function areFiles(...places: readonly string[]): Promise<boolean> {
  const found = await Promise.all(places.map(lookAt));
  return found.every((one) => one !== undefined && !one.isDirectory());
}

const changedMeanwhile = (act: string, path: string) =>
  refused(act, path, "it was changed meanwhile", "end what writes there, then try again");

/** After a crash: what was put aside comes back where nothing stands in its place; else its rest goes. */
export async function settleAside(entry: Entry, executionId: string, signal: AbortSignal): Promise<void> {
  const aside = asideOf(entry, executionId);
  if ((await lookAt(aside.place)) === undefined) return;
  if ((await lookAt(entry.place)) === undefined) await rename(aside.place, entry.place);
  else await removeEntry(aside, signal);
}

/** Removes what was put aside. */
export const removeAside = (entry: Entry, executionId: string, signal: AbortSignal): Promise<void> =>
  removeEntry(asideOf(entry, executionId), signal);

/** Beside its place, by a name that is known from the execution. */
const asideOf = (entry: Entry, executionId: string): Entry => temporaryOf(entry, `${executionId}-old`);

/** False where that cannot be: a folder that lies below the overlay, in the image, is not renamed. */
async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EXDEV") return false;
    throw error;
  }
}

/** Renames to a place where nothing stands: what another has put there is left. */
async function renameFree(from: string, { path, place }: Entry, more = ""): Promise<void> {
  if ((await lookAt(place)) !== undefined) throw refused("write", path, `something was put there meanwhile${more}`);
  await rename(from, place);
}
