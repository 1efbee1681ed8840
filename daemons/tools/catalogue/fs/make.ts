import { symlink as makeLink, readlink, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import * as Type from "typebox";
import { makeFolders, type ResolvedPath, removeFolders } from "../../files/index.ts";
import { changes, type Undo } from "../../tool.ts";
import { absolutePath, changedSince, type Entry, named, object, refused, withEntry } from "../shared/index.ts";

interface FolderPlan {
  readonly path: string;
  /** The folder that stood before, and the names of those to be made below it. */
  readonly folder: string;
  readonly made: readonly string[];
}

const undoFolder: Undo<{ path: string; recursive?: boolean }, { path: "path" }, FolderPlan> = {
  prepare: async ({ resources: { path } }) => ({
    path: path.path,
    folder: path.folder,
    made: path.exists ? [] : path.names,
  }),
  restore: ({ path, folder, made }) =>
    named("remove", path, async () => {
      if (made.length === 0) return;
      await removeFolders(folder, made);
      const left = await withEntry(`${folder === "/" ? "" : folder}/${made[0]}`, async ({ found }) => found);
      if (left !== undefined) throw refused("remove", path, "something lies in it by now", "move that away first");
    }),
};

export const mkdir = changes({
  name: "fs.mkdir",
  summary: "Makes a folder (0755); with recursive also the folders above it, and one that exists is no error.",
  input: object({ path: absolutePath, recursive: Type.Optional(Type.Boolean()) }),
  output: object({ created: Type.Integer({ description: "folders that were made" }) }),
  resources: { path: "path" },
  capabilities: ["fs:write:{path}"],
  undo: undoFolder,
  risk: "low",
  timeoutMs: 10_000,
  idempotent: false,
  preview: async ({ input: { recursive = false }, resources: { path } }) => {
    await checkFolder(path, recursive);
    const outer = path.folder === "/" ? "" : path.folder;
    const made = path.exists ? [] : path.names.map((_, at) => `+ ${outer}/${path.names.slice(0, at + 1).join("/")}/`);
    return made.join("\n") || `${path.path} exists`;
  },
  run: ({ input: { recursive = false }, resources: { path } }) =>
    named("make folder", path.path, () => makeFolder(path, recursive)),
});

async function makeFolder(path: ResolvedPath, recursive: boolean) {
  if (await checkFolder(path, recursive)) return { created: 0 };
  (await makeFolders(path.folder, path.names)).close();
  return { created: path.names.length };
}

/** Whether the folder is there, as it may be with `recursive`. Throws FAILED_PRECONDITION where it cannot be made. */
async function checkFolder(path: ResolvedPath, recursive: boolean): Promise<boolean> {
  const standing = path.exists ? await withEntry(path.path, async ({ found }) => found) : undefined;
  if (standing !== undefined) {
    if (recursive && standing.isDirectory()) return true;
    throw refused("make folder", path.path, "it exists already");
  }
  if (path.names.length > 1 && !recursive) {
    throw refused(
      "make folder",
      path.path,
      `${dirname(path.path)} does not exist`,
      "say recursive=true to make it too",
    );
  }
  return false;
}

const undoLink: Undo<
  { path: string; target: string },
  { path: "entry"; target: "path" },
  { path: string; target: string }
> = {
  prepare: async ({ input: { target }, resources: { path } }) => ({ path: path.path, target }),
  restore: ({ path, target }) =>
    named("remove", path, () =>
      withEntry(path, async ({ found, place }) => {
        if (found === undefined) return;
        if (!found.isSymbolicLink() || (await readlink(place)) !== target) throw changedSince("remove", path);
        await unlink(place);
      }),
    ),
};

export const symlink = changes({
  name: "fs.symlink",
  summary: "Makes a symbolic link at path that leads to target, an absolute path. Nothing may stand at path.",
  input: object({ path: absolutePath, target: absolutePath }),
  output: object({ created: Type.Boolean() }),
  resources: { path: "entry", target: "path" },
  uses: { target: "read" },
  // Who may not read a thing gives it no second name either, for others to follow.
  capabilities: ["fs:write:{path}", "fs:read:{target}"],
  undo: undoLink,
  risk: "medium",
  timeoutMs: 10_000,
  idempotent: false,
  preview: ({ input: { target }, resources: { path } }) =>
    named("link", path.path, () =>
      withEntry(path.path, async (entry) => {
        checkFree(entry);
        return `+ ${path.path} -> ${target}`;
      }),
    ),
  run: ({ input: { target }, resources: { path } }) =>
    named("link", path.path, () =>
      withEntry(path.path, async (entry) => {
        checkFree(entry);
        await makeLink(target, entry.place);
        return { created: true };
      }),
    ),
});

function checkFree({ path, found }: Entry): void {
  if (found !== undefined) throw refused("link", path, "it exists already", "delete it first");
}
