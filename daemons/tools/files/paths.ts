import { lstat, readlink, realpath } from "node:fs/promises";
import { dirname, normalize } from "node:path";
import { AiosError, errnoOf } from "#lib/errors";
import { cut } from "#lib/text";
import { standsPlainly } from "./cached.ts";

/** The longest path, bytes, as the kernel has it. */
const pathLengthMax = 4096;

/** Symbolic links followed in one path, as the kernel has it. */
const linksMax = 40;

/** The ways a call uses a path: it looks, takes it with all that lies in it, or changes it. */
export type Access = "read" | "copy" | "change";

/** A path with every symbolic link, `.` and `..` taken out: what is compared, and what the act opens. */
export interface ResolvedPath {
  /** As the caller wrote it. */
  readonly given: string;
  readonly path: string;
  /** The deepest folder on the way that exists. */
  readonly folder: string;
  /** The names below `folder` down to the path itself: none but the last exist, and the last only when `exists`. */
  readonly names: readonly string[];
  readonly exists: boolean;
}

/**
 * Resolves `given` against the file system, also when its last parts do not exist yet.
 * Throws INVALID_ARGUMENT for a path that is not absolute, holds NUL, is too long, loops, or climbs (`..`) out of a folder that does not exist.
 */
export async function resolvePath(given: string): Promise<ResolvedPath> {
  check(given);
  return (await resolveStanding(given)) ?? (await walk(given));
}

/**
 * As {@link resolvePath}, but a symbolic link at the path itself is not followed: what is removed, moved or made anew is the
 * link. Throws INVALID_ARGUMENT also for "/" and for a path that ends in "..".
 */
export async function resolveEntry(given: string): Promise<ResolvedPath> {
  check(given);
  const name = parts(given).at(-1);
  if (name === undefined || name === "..") throw bad(given, "it names no entry of a folder");
  const outer = await resolvePath(given.slice(0, given.lastIndexOf(name)));
  const path = `${outer.path === "/" ? "" : outer.path}/${name}`;
  const exists = outer.exists && (await look(path, given)).exists;
  if (outer.exists) return { given, path, folder: outer.path, names: [name], exists };
  return { given, path, folder: outer.folder, names: [...outer.names, name], exists };
}

function check(given: string): void {
  if (!given.startsWith("/")) throw bad(given, "expected an absolute path");
  if (given.includes("\0")) throw bad(given, "a path cannot hold NUL");
  if (Buffer.byteLength(given) > pathLengthMax) throw bad(given, `longer than ${pathLengthMax} bytes`);
}

/** The common case, in one call of the kernel's: the path stands, and no link leads to it. Mostly it knows that from memory. */
async function resolveStanding(given: string): Promise<ResolvedPath | undefined> {
  const plain = normalize(given).replace(/(.)\/$/, "$1");
  if (standsPlainly(given)) return resolved(given, plain, []);
  try {
    return (await realpath(given)) === plain ? resolved(given, plain, []) : undefined;
  } catch {
    // It does not, or not as it was written: the walk finds out how far it goes.
    return undefined;
  }
}

/** The way of a path that does not stand, part by part. */
async function walk(given: string): Promise<ResolvedPath> {
  const todo = parts(given).reverse();
  let real = "";
  let missing: string[] = [];
  let links = 0;
  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    if (name === "..") {
      if (missing.length > 0) throw bad(given, `"${real}/${missing.join("/")}" does not exist, so ".." leads nowhere`);
      real = real.slice(0, Math.max(0, real.lastIndexOf("/")));
      continue;
    }
    const found = missing.length > 0 ? { exists: false } : await look(`${real}/${name}`, given);
    if (!found.exists) {
      missing = [...missing, name];
    } else if (found.target === undefined) {
      real = `${real}/${name}`;
    } else {
      links += 1;
      if (ofProcess.test(real)) throw throughProcess(given);
      if (links > linksMax) throw bad(given, `more than ${linksMax} symbolic links`);
      if (found.target.startsWith("/")) real = "";
      todo.push(...parts(found.target).reverse());
    }
  }
  return resolved(given, real, missing);
}

function resolved(given: string, real: string, missing: readonly string[]): ResolvedPath {
  const folder = missing.length > 0 ? real || "/" : dirname(real || "/");
  const names = missing.length > 0 ? missing : parts(real).slice(-1);
  const path = real + missing.map((name) => `/${name}`).join("") || "/";
  return { given, path, folder, names, exists: missing.length === 0 };
}

/** Where a process's own links are, such as fd/0, cwd and root: they lead to what it holds, not to what stands at a path. */
const ofProcess = /^\/proc\/\d+(\/|$)/;

function throughProcess(given: string): AiosError {
  return new AiosError("PERMISSION_DENIED", {
    act: "resolve",
    object: JSON.stringify(given),
    reason: "it leads through what a process holds open",
    next: "name the file by its own path",
  });
}

const parts = (path: string) => path.split("/").filter((name) => name !== "" && name !== ".");

/** Looks what is there: nothing, a symbolic link with its target, or anything else. */
async function look(path: string, given: string): Promise<{ exists: boolean; target?: string }> {
  try {
    return (await lstat(path)).isSymbolicLink() ? { exists: true, target: await readlink(path) } : { exists: true };
  } catch (error) {
    const code = errnoOf(error);
    // A file where a folder should be: what lies below it does not exist either, as the act will say.
    if (code === "ENOENT" || code === "ENOTDIR") return { exists: false };
    throw bad(given, code ?? "cannot be resolved");
  }
}

function bad(given: string, reason: string): AiosError {
  const shown = cut(given, 200);
  return new AiosError("INVALID_ARGUMENT", {
    act: "resolve",
    object: JSON.stringify(shown),
    reason,
    next: "give the absolute path of a file or folder",
  });
}
