/**
 * A file whose entry has a SHA-256 is read whole once per identity (device, inode, length, mtime, ctime).
 */
import { createHash } from "node:crypto";
import { type BigIntStats, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { replaceFile } from "#lib/data/files";
import { errnoOf } from "#lib/errors";

/**
 * Tells a file's content from another's without reading it: device, inode, length, and when content and inode were
 * changed last. Writing to a file changes its ctime, which nobody can set. Empty when there is no such file.
 */
export function fileIdentity(path: string): string {
  const stat = statOf(path);
  if (stat === undefined) return "";
  const { dev, ino, size, mtimeNs, ctimeNs } = stat;
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}

function statOf(path: string): BigIntStats | undefined {
  try {
    const stat = statSync(path, { bigint: true });
    return stat.isFile() ? stat : undefined;
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EACCES", "ELOOP"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}

/** Hashes of files, remembered by the files' identities, so that gigabytes are read once and not at each load. */
export interface FileHashes {
  /** The file's SHA-256 if it is remembered. */
  known(path: string): string | undefined;
  /** The file's SHA-256: remembered, else read, in chunks so that others get their turn. */
  of(path: string, options: HashOptions): Promise<string>;
  /** Remembers the hash of a file that somebody else has just computed. */
  remember(path: string, sha256: string): void;
}

interface HashOptions {
  readonly signal: AbortSignal;
  /** Read it even if its hash is remembered. */
  readonly again?: boolean;
  readonly progress?: (doneBytes: number) => void;
}

/** Hashes remembered; the oldest are forgotten. */
const rememberedMax = 200;

const chunkBytes = 1_048_576;

/** Hashes remembered in `file`. A file that cannot be read or written costs time only: models are then hashed again. */
export function openFileHashes(file: string): FileHashes {
  let remembered: Map<string, string> | undefined;
  const load = () => {
    remembered ??= new Map(readEntries(file));
    return remembered;
  };

  const hashes: FileHashes = {
    known(path) {
      const identity = fileIdentity(path);
      return identity === "" ? undefined : load().get(identity);
    },
    async of(path, { signal, again = false, progress }) {
      const before = fileIdentity(path);
      const known = again ? undefined : load().get(before);
      if (known !== undefined) return known;
      const sha256 = await hashFile(path, signal, progress);
      // A file that was written to while it was read has no hash worth remembering.
      if (before !== "" && fileIdentity(path) === before) hashes.remember(path, sha256);
      return sha256;
    },
    remember(path, sha256) {
      const identity = fileIdentity(path);
      if (identity === "") return;
      const entries = load();
      entries.delete(identity);
      entries.set(identity, sha256);
      for (const oldest of [...entries.keys()].slice(0, Math.max(0, entries.size - rememberedMax)))
        entries.delete(oldest);
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      replaceFile(file, `${JSON.stringify([...entries])}\n`, 0o600);
    },
  };
  return hashes;
}

function readEntries(file: string): [string, string][] {
  if (!existsSync(file)) return [];
  try {
    const entries: unknown = JSON.parse(readFileSync(file, "utf8"));
    return Array.isArray(entries) ? entries.filter(isEntry) : [];
  } catch {
    return [];
  }
}

function isEntry(entry: unknown): entry is [string, string] {
  return Array.isArray(entry) && entry.length === 2 && entry.every((part) => typeof part === "string");
}

async function hashFile(path: string, signal: AbortSignal, progress: HashOptions["progress"]): Promise<string> {
  const file = await open(path, "r");
  try {
    const hash = createHash("sha256");
    const buffer = Buffer.allocUnsafe(chunkBytes);
    for (let at = 0; ; ) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, chunkBytes, at);
      if (bytesRead === 0) return hash.digest("hex");
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
      progress?.(at);
    }
  } finally {
    await file.close();
  }
}
