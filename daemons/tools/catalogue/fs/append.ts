import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import * as Type from "typebox";
import { AiosError, errnoOf } from "#lib/errors";
import { entriesOf, type Held, hold, holdForChange, modifiedMsOf, setModified } from "../../files/index.ts";
import { changes, type Undo, type UndoCall } from "../../tool.ts";
import {
  absolutePath,
  changedSince,
  contentMaxBytes,
  named,
  object,
  refused,
  undoWrite,
  unifiedDiff,
  type WritePlan,
  writeFile,
} from "../shared/index.ts";
import { asLines, lookedAtBytes } from "./appended-lines.ts";

/** Either the file is new, or it is as long again as it was. What is added is the backup "added". */
type AppendPlan =
  | { readonly path: string; readonly created: WritePlan }
  | { readonly path: string; readonly size: number; readonly added: number; readonly modifiedMs: number };

type Input = { path: string; content: string; line?: boolean };

const backupName = "added";

const undo: Undo<Input, { path: "path" }, AppendPlan> = {
  preparesByReading: true,
  prepare: async (call, backups) => {
    const { path } = call.resources.path;
    const before = await named("append to", path, () => standing(path));
    const content = await named("append to", path, () => contentFor(path, call.input, before));
    checkSize(path, content.length);
    if (before === undefined) {
      const input = { path, content: content.toString("utf8") };
      return { path, created: await undoWrite.prepare({ ...call, input }, backups) };
    }
    await backups.save(backupName, content, path);
    return { path, ...before, added: content.length };
  },
  restore: (plan, call) => ("created" in plan ? undoWrite.restore(plan.created, call) : cutOff(plan, call)),
  settle: async (plan, call) => {
    if ("created" in plan) return undoWrite.settle?.(plan.created, call);
    const now = (await standing(plan.path))?.size;
    // Half of it was written: none of it counts. What another has written is left.
    if (now === undefined || now >= plan.size + plan.added) return;
    await withFile(plan.path, constants.O_RDWR, async (file) => {
      if (await cutOwn(file, plan.size, await addedBy(call))) await setModified(file, plan.modifiedMs);
    });
  },
};

export const append = changes({
  name: "fs.append",
  summary:
    "Adds text (UTF-8, at most 1 MiB) at the end of a file, as it is or as lines of its own; makes the file when there is none.",
  input: object({
    path: absolutePath,
    content: Type.String({ description: "what is added" }),
    line: Type.Optional(
      Type.Boolean({
        description: "as lines of its own: begun anew where the last line has no end, ended, with the file's line ends",
      }),
    ),
  }),
  output: object({ bytes_written: Type.Integer(), size: Type.Integer({ description: "bytes, afterwards" }) }),
  resources: { path: "path" },
  capabilities: ["fs:append:{path}"],
  undo,
  risk: "medium",
  timeoutMs: 10_000,
  idempotent: false,
  preview: ({ input, resources: { path } }) =>
    named("append to", path.path, async () => {
      const before = await standing(path.path);
      const added = await contentFor(path.path, input, before);
      checkSize(path.path, added.length);
      if (before !== undefined) await withFile(path.path, constants.O_RDONLY, (file) => checkText(path.path, file));
      const content = added.toString("utf8");
      if (before === undefined) return unifiedDiff(path.path, undefined, content);
      // Without what stands before it: a log that goes on growing is no other change.
      return [
        `at the end of ${path.path}`,
        ...content
          .replace(/\n$/, "")
          .split("\n")
          .map((line) => `+${line}`),
      ].join("\n");
    }),
  run: ({ executionId, input, resources: { path } }) =>
    named("append to", path.path, async () => {
      const before = await standing(path.path);
      const content = await contentFor(path.path, input, before);
      if (before !== undefined) return addTo(path.path, content);
      const written = await writeFile(path, content, executionId);
      return { ...written, size: written.bytes_written };
    }),
});

/** The bytes to append: the text as it is, or as lines of its own. */
async function contentFor(path: string, { content, line }: Input, before: Before | undefined): Promise<Buffer> {
  if (line !== true) return Buffer.from(content);
  const size = before?.size ?? 0;
  const tail = size === 0 ? Buffer.alloc(0) : await tailOf(path, Math.max(0, size - lookedAtBytes), lookedAtBytes);
  return Buffer.from(asLines(content, tail));
}

const tailOf = (path: string, from: number, length: number): Promise<Buffer> =>
  withFile(path, constants.O_RDONLY, (file) => readAt(file, from, length));

async function readAt(file: FileHandle, from: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let at = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, at, length - at, from + at);
    at += bytesRead;
    if (bytesRead === 0 || at === length) return buffer.subarray(0, at);
  }
}

async function addTo(path: string, content: Buffer) {
  return withFile(path, constants.O_RDWR | constants.O_APPEND, async (file, held) => {
    const { size } = held.found;
    await checkText(path, file);
    try {
      await file.appendFile(content);
      await file.sync();
    } catch (error) {
      await cutPart(path, file, size, content, error);
      throw error;
    }
    return { bytes_written: content.length, size: (await file.stat()).size };
  });
}

async function checkText(path: string, file: FileHandle): Promise<void> {
  const head = (await readAt(file, 0, 2)).toString("hex");
  if (["fffe", "feff"].includes(head))
    throw refused("append to", path, "its text is UTF-16, and what is added is UTF-8", "convert it to UTF-8 first");
}

/** On a full disk a part may have been written: it is cut off again. Throws when that cannot be done, and says so. */
async function cutPart(path: string, file: FileHandle, size: number, content: Buffer, cause: unknown): Promise<void> {
  if ((await file.stat()).size === size || (await cutOwn(file, size, content))) return;
  const reason = `${errnoOf(cause) ?? "it could not be written"}, and another has written to it since, so that a part of the text may have been added`;
  throw new AiosError("DATA_LOSS", { act: "append to", object: path, reason, next: "look at the end of the file" });
}

/** Cuts a file to the length that it had when all that follows is the beginning of `content`; says whether it was. */
async function cutOwn(file: FileHandle, size: number, content: Buffer): Promise<boolean> {
  const tail = await readAt(file, size, content.length + 1);
  if (tail.length === 0 || !content.subarray(0, tail.length).equals(tail)) return false;
  await file.truncate(size);
  await file.sync();
  return true;
}

async function addedBy({ backups }: UndoCall): Promise<Buffer> {
  const kept = await backups.load(backupName);
  if (kept instanceof Uint8Array) return Buffer.from(kept);
  try {
    return await kept.readFile();
  } finally {
    await kept.close();
  }
}

async function cutOff(plan: Extract<AppendPlan, { size: number }>, call: UndoCall): Promise<void> {
  const { path, size, added } = plan;
  await named("restore", path, async () => {
    const now = (await standing(path))?.size;
    if (now === size) return;
    if (now !== size + added) throw changedSince("restore", path);
    await withFile(path, constants.O_RDWR, async (file) => {
      if (!(await cutOwn(file, size, await addedBy(call)))) throw changedSince("restore", path);
      // As long as it was, and as old.
      await setModified(file, plan.modifiedMs);
      await file.sync();
    });
  });
}

interface Before {
  readonly size: number;
  readonly modifiedMs: number;
}

/** A regular file's size and time; undefined when there is none. */
async function standing(path: string): Promise<Before | undefined> {
  let held: Held;
  try {
    held = await hold(path);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
  await held.close();
  if (!held.found.isFile()) throw refused("append to", path, "it is not a regular file");
  return { size: held.found.size, modifiedMs: modifiedMsOf(held.found) };
}

async function withFile<T>(
  path: string,
  flags: number,
  work: (file: FileHandle, held: Held) => Promise<T>,
): Promise<T> {
  const held = await (flags === constants.O_RDONLY ? hold(path) : holdForChange(path));
  try {
    const file = await open(entriesOf(held), flags | constants.O_NONBLOCK);
    try {
      return await work(file, held);
    } finally {
      await file.close();
    }
  } finally {
    await held.close();
  }
}

function checkSize(path: string, bytes: number): void {
  if (bytes <= contentMaxBytes) return;
  throw refused("append to", path, `${bytes} bytes, and at most ${contentMaxBytes} are written at once`);
}
