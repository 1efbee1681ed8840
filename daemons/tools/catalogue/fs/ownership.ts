import { constants } from "node:fs";
import { chmod, chown, open } from "node:fs/promises";
import * as Type from "typebox";
import { errnoOf } from "#lib/errors";
import { mountsBelow, type Ownership, oPath } from "../../files/index.ts";
import { changes, type Undo } from "../../tool.ts";
import { absolutePath, type Entry, named, object, refused, shownMax, walk, withEntry } from "../shared/index.ts";

/** Files and folders that are changed at once, at most: the owner and mode of each is kept. */
const entriesMax = 10_000;

type Change = Partial<Ownership>;
type Input = { path: string; recursive?: boolean };
type Visit = (path: string, place: Buffer, before: Ownership) => Promise<void>;

interface OwnershipPlan {
  readonly path: string;
  readonly recursive: boolean;
  /** Owner, group and mode by the path below `path`; "" is the path itself. */
  readonly before: Readonly<Record<string, readonly [uid: number, gid: number, mode: number]>>;
}

const undo: Undo<Input, { path: "path" }, OwnershipPlan> = {
  prepare: ({ input: { recursive = false }, resources: { path }, signal }) =>
    named("look at", path.path, async () => {
      const before: Record<string, [number, number, number]> = {};
      await visit(path.path, recursive, signal, async (at, _, { uid, gid, mode }) => {
        before[at] = [uid, gid, mode];
      });
      return { path: path.path, recursive, before };
    }),
  restore: ({ path, recursive, before }) =>
    named("restore", path, () =>
      visit(path, recursive, new AbortController().signal, async (at, place) => {
        const [uid, gid, mode] = before[at] ?? [];
        if (uid !== undefined && gid !== undefined && mode !== undefined) await set(place, { uid, gid, mode });
      }),
    ),
};

const recursive = Type.Optional(Type.Boolean({ description: "also what lies in it, at most 10,000 entries" }));
const output = object({ changed: Type.Integer({ description: "files and folders" }) });

export const changeMode = changes({
  name: "fs.chmod",
  summary: "Sets the permissions of a file or folder. Links are left alone.",
  input: object({
    path: absolutePath,
    mode: Type.String({
      pattern: "^[01]?[0-7]{3}$",
      description: "octal, such as 0644; nothing runs as another user by its mode",
    }),
    recursive,
  }),
  output,
  resources: { path: "path" },
  capabilities: ["fs:chmod:{path}"],
  undo,
  risk: "medium",
  timeoutMs: 30_000,
  idempotent: true,
  preview: ({ input, resources: { path }, signal }) =>
    show(path.path, input.recursive, signal, ({ mode }) => {
      const to = Number.parseInt(input.mode, 8);
      return mode === to ? undefined : `${octal(mode)} -> ${octal(to)}`;
    }),
  run: ({ input, resources: { path }, signal }) =>
    named("set the mode of", path.path, () =>
      change(path.path, input.recursive, signal, { mode: Number.parseInt(input.mode, 8) }),
    ),
});

export const changeOwner = changes({
  name: "fs.chown",
  summary: "Sets the owner and group, by number, of a file or folder. Links are left alone.",
  input: object({
    path: absolutePath,
    uid: Type.Integer({ minimum: 0, maximum: 2 ** 32 - 2 }),
    gid: Type.Integer({ minimum: 0, maximum: 2 ** 32 - 2 }),
    recursive,
  }),
  output,
  resources: { path: "path" },
  capabilities: ["fs:chown:{path}"],
  undo,
  risk: "high",
  timeoutMs: 30_000,
  idempotent: true,
  preview: ({ input: { uid, gid, recursive }, resources: { path }, signal }) =>
    show(path.path, recursive, signal, (now) =>
      now.uid === uid && now.gid === gid ? undefined : `${now.uid}:${now.gid} -> ${uid}:${gid}`,
    ),
  run: ({ input: { uid, gid, recursive }, resources: { path }, signal }) =>
    named("set the owner of", path.path, () => change(path.path, recursive, signal, { uid, gid })),
});

const octal = (mode: number) => `0${mode.toString(8).padStart(3, "0")}`;

/** Shows the change of each file and folder in a line; `of` says nothing of those that stay as they are. */
async function show(
  path: string,
  recursive = false,
  signal: AbortSignal,
  of: (now: Ownership) => string | undefined,
): Promise<string> {
  const lines: string[] = [];
  await visit(path, recursive, signal, async (at, _, now) => {
    const line = of(now);
    if (line !== undefined) lines.push(`${at === "" ? path : `${path}/${at}`} ${line}`);
  });
  const more = lines.length > shownMax ? [`… ${lines.length - shownMax} more`] : [];
  return [...lines.slice(0, shownMax), ...more].join("\n") || "no change";
}

async function change(path: string, recursive = false, signal: AbortSignal, to: Change) {
  let changed = 0;
  await visit(path, recursive, signal, async (_, place, before) => {
    await set(place, { ...before, ...to });
    changed += 1;
  });
  return { changed };
}

async function visit(path: string, recursive: boolean, signal: AbortSignal, each: Visit): Promise<void> {
  await withEntry(path, async (top) => {
    if (top.found === undefined) throw refused("find", path, "it does not exist");
    await one("", Buffer.from(top.place), top.found, each);
    if (!recursive || !top.found.isDirectory()) return;
    // What is mounted in it is another's, such as a folder of the system that is bound there.
    const mounted = new Set(mountsBelow(path).map((mount) => mount.path));
    const isOwn = (at: string) => !mounted.has(`${path}/${at}`);
    const going = { depthMax: Number.POSITIVE_INFINITY, entriesMax, signal, enter: isOwn };
    for await (const { path: at, place, found } of walk(top, going)) if (isOwn(at)) await one(at, place, found, each);
  });
}

async function one(at: string, place: Buffer, found: NonNullable<Entry["found"]>, each: Visit): Promise<void> {
  if (found.isSymbolicLink()) return;
  await each(at, place, { mode: found.mode & 0o7777, uid: found.uid, gid: found.gid });
}

/** Through a descriptor of the file itself: a link that took its place is refused. */
async function set(place: Buffer, { uid, gid, mode }: Ownership): Promise<void> {
  try {
    const held = await open(place, oPath | constants.O_NOFOLLOW);
    try {
      const found = await held.stat();
      if (found.isSymbolicLink()) return;
      const through = `/proc/self/fd/${held.fd}`;
      if (found.uid !== uid || found.gid !== gid) await chown(through, uid, gid);
      // After chown, which clears the set-user bits.
      await chmod(through, mode);
    } finally {
      await held.close();
    }
  } catch (error) {
    // It went away since.
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}
