import { lstat, opendir } from "node:fs/promises";
import { basename } from "node:path";
import * as Type from "typebox";
import { AiosError, errnoOf } from "#lib/errors";
import { entriesOf, hold, readHeld } from "../../files/index.ts";
import { reads } from "../../tool.ts";
import { absolutePath, contentMaxBytes, named, object, timestamp } from "../shared/index.ts";

/** Entries of a folder that are listed at most. */
const entriesMax = 10_000;

const kinds = { file: "file", directory: "directory", symlink: "symlink", other: "other" } as const;

export const read = reads({
  name: "fs.read",
  summary: "Reads a text file (UTF-8) of at most 1 MiB.",
  input: object({ path: absolutePath }),
  output: object({ content: Type.String(), size: Type.Integer({ description: "bytes" }) }),
  resources: { path: "path" },
  capabilities: ["fs:read:{path}"],
  timeoutMs: 10_000,
  run: ({ resources: { path } }) =>
    named("read", path.path, async () => {
      const held = await hold(path.path);
      try {
        const content = await readHeld(held, contentMaxBytes);
        return { content: decode(content, path.path), size: content.length };
      } finally {
        await held.close();
      }
    }),
});

export const list = reads({
  name: "fs.list",
  summary: "Lists a folder's entries, at most 10,000, by name.",
  input: object({ path: absolutePath }),
  output: object({
    entries: Type.Array(
      object({
        name: Type.String(),
        type: Type.Enum(Object.values(kinds)),
        size: Type.Integer({ description: "bytes" }),
        modified: timestamp,
      }),
    ),
  }),
  resources: { path: "path" },
  capabilities: ["fs:read:{path}"],
  timeoutMs: 10_000,
  run: ({ resources: { path }, signal }) => named("list", path.path, () => listFolder(path.path, signal)),
});

export const stat = reads({
  name: "fs.stat",
  summary: "Tells a file's or folder's size, permissions and times; of a symbolic link, those of what it leads to.",
  input: object({ path: absolutePath }),
  output: object({
    size: Type.Integer({ description: "bytes" }),
    permissions: Type.String({ description: "octal, such as 0644" }),
    modified: timestamp,
    accessed: timestamp,
    is_dir: Type.Boolean(),
    is_file: Type.Boolean(),
    is_symlink: Type.Boolean({ description: "the path itself is a symbolic link" }),
  }),
  resources: { path: "path" },
  capabilities: ["fs:read:{path}"],
  timeoutMs: 5_000,
  run: ({ resources: { path } }) =>
    named("stat", path.path, async () => {
      const held = await hold(path.path);
      try {
        const { found } = held;
        return {
          size: found.size,
          permissions: `0${(found.mode & 0o7777).toString(8).padStart(3, "0")}`,
          modified: Math.round(found.mtimeMs),
          accessed: Math.round(found.atimeMs),
          is_dir: found.isDirectory(),
          is_file: found.isFile(),
          is_symlink: (await lstat(path.given)).isSymbolicLink(),
        };
      } finally {
        await held.close();
      }
    }),
});

async function listFolder(path: string, signal: AbortSignal) {
  const held = await hold(path);
  try {
    const entries = [];
    // As bytes: a name that is not UTF-8 must be found again.
    for await (const { name } of await opendir(entriesOf(held), { encoding: "buffer" as BufferEncoding })) {
      signal.throwIfAborted();
      if (entries.length === entriesMax) throw tooMany(path);
      const entry = await entryAt(entriesOf(held), name as unknown as Buffer);
      if (entry !== undefined) entries.push(entry);
    }
    return { entries: entries.sort((a, b) => (a.name < b.name ? -1 : 1)) };
  } finally {
    await held.close();
  }
}

/** One entry; undefined when it went away since the folder was read. */
async function entryAt(folder: string, name: Buffer) {
  try {
    const found = await lstat(Buffer.concat([Buffer.from(`${folder}/`), name]));
    const type = found.isFile()
      ? kinds.file
      : found.isDirectory()
        ? kinds.directory
        : found.isSymbolicLink()
          ? kinds.symlink
          : kinds.other;
    return { name: name.toString("utf8"), type, size: found.size, modified: Math.round(found.mtimeMs) };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function tooMany(path: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "list",
    object: path,
    reason: `it has more than ${entriesMax} entries`,
    next: "list a folder below it",
  });
}

function decode(content: Buffer, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    throw new AiosError("FAILED_PRECONDITION", {
      act: "read",
      object: basename(path),
      reason: "its content is not UTF-8 text",
    });
  }
}
