import { hash } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import * as Type from "typebox";
import { entriesOf, type Held, hold, modifiedMsOf, setModified } from "../../handles.ts";
import { defineTool, type Undo } from "../../tool.ts";
import { unifiedDiff } from "../diff.ts";
import { absolutePath, named, object } from "../words.ts";
import { contentMaxBytes, undoWrite, type WritePlan, writeFile } from "../write.ts";
import { changedSince, refused } from "./entry.ts";

/** Either the file is new, or it is as long again as it was. */
type AppendPlan =
  | { readonly path: string; readonly created: WritePlan }
  | {
      readonly path: string;
      readonly size: number;
      readonly added: number;
      readonly sha256: string;
      readonly modifiedMs: number;
    };

type Input = { path: string; content: string };

const undo: Undo<Input, { path: "path" }, AppendPlan> = {
  prepare: async (call, backups) => {
    const { path } = call.resources.path;
    const content = Buffer.from(call.input.content);
    checkSize(path, content.length);
    const before = await named("append to", path, () => standing(path));
    if (before === undefined) return { path, created: await undoWrite.prepare(call, backups) };
    return { path, ...before, added: content.length, sha256: hash("sha256", content) };
  },
  restore: (plan, call) => ("created" in plan ? undoWrite.restore(plan.created, call) : cutOff(plan)),
  settle: async (plan, call) => {
    if ("created" in plan) return undoWrite.settle?.(plan.created, call);
    const now = (await standing(plan.path))?.size;
    // Half of it was written: none of it counts.
    if (now !== undefined && now > plan.size && now < plan.size + plan.added) await shorten(plan);
  },
};

export const append = defineTool({
  name: "fs.append",
  summary: "Adds text (UTF-8, at most 1 MiB) at the end of a file; makes the file when there is none.",
  input: object({ path: absolutePath, content: Type.String({ description: "what is added" }) }),
  output: object({ bytes_written: Type.Integer(), size: Type.Integer({ description: "bytes, afterwards" }) }),
  resources: { path: "path" },
  capabilities: ["fs:append:{path}"],
  callers: ["core", "operator", "agent"],
  effect: "change",
  undo,
  risk: "medium",
  timeoutMs: 10_000,
  idempotent: false,
  confirmation: false,
  preview: ({ input: { content }, resources: { path } }) =>
    named("append to", path.path, async () => {
      const before = await standing(path.path);
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
      const content = Buffer.from(input.content);
      if ((await standing(path.path)) === undefined) {
        const written = await writeFile(path, content, executionId);
        return { ...written, size: written.bytes_written };
      }
      return addTo(path.path, content);
    }),
});

async function addTo(path: string, content: Buffer) {
  return withFile(path, constants.O_WRONLY | constants.O_APPEND, async (file) => {
    const { size } = await file.stat();
    try {
      await file.appendFile(content);
      await file.sync();
    } catch (error) {
      // On a full disk a part may have been written.
      await file.truncate(size);
      throw error;
    }
    return { bytes_written: content.length, size: size + content.length };
  });
}

async function cutOff(plan: Extract<AppendPlan, { size: number }>): Promise<void> {
  const { path, size, added, sha256 } = plan;
  await named("restore", path, async () => {
    const now = (await standing(path))?.size;
    if (now === size) return;
    if (now !== size + added) throw changedSince("restore", path);
    const tail = await withFile(path, constants.O_RDONLY, async (file) => {
      const { buffer } = await file.read(Buffer.alloc(added), 0, added, size);
      return hash("sha256", buffer);
    });
    if (tail !== sha256) throw changedSince("restore", path);
    await shorten(plan);
  });
}

/** As long as it was, and as old. */
const shorten = ({ path, size, modifiedMs }: Before & { readonly path: string }) =>
  withFile(path, constants.O_WRONLY, async (file) => {
    await file.truncate(size);
    await setModified(file, modifiedMs);
    await file.sync();
  });

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
  work: (file: Awaited<ReturnType<typeof open>>) => Promise<T>,
): Promise<T> {
  const held = await hold(path);
  try {
    const file = await open(entriesOf(held), flags | constants.O_NONBLOCK);
    try {
      return await work(file);
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
