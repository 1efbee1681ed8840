import { globSync, lstatSync, type Stats } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoOf } from "#lib/errors";

/** Entries that are looked through for a file's other names, at most. */
const entriesMax = 200_000;

/** A file with further names that is looked for. */
interface Linked {
  readonly found: Stats;
  /** Of the folder it lies in: over an overlay files bear the number of the layer that they come from. */
  readonly device: number | undefined;
  entries: number;
}

/** The file that was `found` at a path; undefined when that is none, or has no other name. */
export function linkedFile(path: string, found: Stats | undefined): Linked | undefined {
  if (found === undefined || !found.isFile() || found.nlink === 1) return undefined;
  return { found, device: standingAt(dirname(path))?.dev, entries: 0 };
}

/** Whether a place, by a name that may have stars, holds a file. A hard link never leaves its file system. */
export async function holdsFile(name: string, file: Linked): Promise<boolean> {
  for (const top of name.includes("*") ? globSync(name) : [name]) if (await isOrHolds(top, file)) return true;
  return false;
}

async function isOrHolds(path: string, file: Linked): Promise<boolean> {
  const here = standingAt(path);
  if (here?.isFile()) return here.ino === file.found.ino && here.dev === file.found.dev;
  if (!here?.isDirectory() || here.dev !== file.device) return false;
  const names = await namesIn(path);
  file.entries += names.length;
  if (file.entries > entriesMax) return true;
  for (const name of names) if (await isOrHolds(`${path}/${name}`, file)) return true;
  return false;
}

/** Looks at a path, at a link itself; undefined when nothing stands there. */
export function standingAt(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

const isAbsent = (error: unknown) => ["ENOENT", "ENOTDIR"].includes(errnoOf(error) ?? "");

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}
