import { readdir, readFile, readlink } from "node:fs/promises";
import { basename } from "node:path";
import { errnoOf } from "#lib/errors";

/** Small files of /proc and /sys. What a machine lacks is not there, and what cannot say a value fails to be read. */

/** Where the kernel tells of the hardware; elsewhere in tests. */
export interface KernelFolders {
  readonly proc: string;
  readonly sys: string;
}

const absent = [
  "ENOENT",
  "ENOTDIR",
  "ENODEV",
  "ENXIO",
  "EINVAL",
  "EIO",
  "EOPNOTSUPP",
  "ENODATA",
  "EAGAIN",
  "EACCES",
  "ESRCH",
];

/** The names in a folder, in order; none where there is no such folder. */
export async function namesIn(folder: string): Promise<string[]> {
  return (await unless(readdir(folder), [])).sort();
}

/** A file's text without the space around it; undefined where there is none to read. */
export async function textOf(path: string): Promise<string | undefined> {
  return unless(
    readFile(path, "utf8").then((text) => text.trim()),
    undefined,
  );
}

/** A file's number, times `factor`; undefined where there is none. */
export async function numberOf(path: string, factor = 1): Promise<number | undefined> {
  const text = await textOf(path);
  const value = text === undefined || text === "" ? Number.NaN : Number(text);
  return Number.isFinite(value) ? round(value * factor) : undefined;
}

/** Where a link leads; undefined where there is none. */
export async function linkTarget(path: string): Promise<string | undefined> {
  return unless(readlink(path), undefined);
}

/** The last part of where a link leads, such as a device's driver. */
export async function linkName(path: string): Promise<string | undefined> {
  const target = await linkTarget(path);
  return target === undefined ? undefined : basename(target);
}

/** An object without the fields that are undefined. */
export function known<T extends object>(fields: T): { [Field in keyof T]: Exclude<T[Field], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

export const round = (value: number) => Math.round(value * 100) / 100;

async function unless<T, U>(reading: Promise<T>, otherwise: U): Promise<T | U> {
  try {
    return await reading;
  } catch (error) {
    if (absent.includes(errnoOf(error) ?? "")) return otherwise;
    throw error;
  }
}
