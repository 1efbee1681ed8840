import * as Type from "typebox";
import { errnoOf } from "#lib/errors";
import { mountAt } from "../../files/index.ts";
import { changes, type Undo } from "../../tool.ts";
import {
  absolutePath,
  changedSince,
  type Entry,
  exchange,
  keepEntry,
  lookAt,
  measure,
  mountedThere,
  named,
  object,
  putBackEntry,
  refused,
  removeEntry,
  settleAside,
  showRemoval,
  undoSignal,
  withEntry,
} from "../shared/index.ts";

interface DeletePlan {
  readonly path: string;
  /** What stood there. */
  readonly fingerprint: string;
}

type Input = { path: string; recursive?: boolean; permanent?: boolean };

const backupName = "deleted";

const undo: Undo<Input, { path: "entry" }, DeletePlan> = {
  prepare: ({ input, resources, signal }, backups) =>
    named("delete", resources.path.path, () =>
      withEntry(resources.path.path, async (entry) => {
        checkDeletable(entry, input);
        return { path: entry.path, fingerprint: (await keepEntry(entry, backupName, backups, signal)).fingerprint };
      }),
    ),
  restore: ({ path, fingerprint }, { backups }) =>
    named("restore", path, () =>
      withEntry(path, async (entry) => {
        const signal = undoSignal();
        if (entry.found === undefined) return putBackEntry(entry, backupName, backups, signal);
        if ((await measure(entry, signal)).fingerprint !== fingerprint) throw changedSince("restore", path);
      }),
    ),
  settlesFailures: true,
  settle: async ({ path }, { executionId, backups }) => {
    try {
      await withEntry(path, async (entry) => {
        await settleAside(entry, executionId, undoSignal());
        // A part of it is gone: the rest is worth nothing without it.
        if ((await lookAt(entry.place))?.isDirectory()) await putBackEntry(entry, backupName, backups, undoSignal());
      });
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  },
};

export const remove = changes({
  name: "fs.delete",
  summary:
    "Deletes a file, a link, or (recursive) a folder with all that lies in it. What is larger than 64 MiB can only be deleted permanently, and so is everything while the disk is full.",
  input: object({
    path: absolutePath,
    recursive: Type.Optional(Type.Boolean({ description: "also a folder that is not empty" })),
    permanent: Type.Optional(
      Type.Boolean({ description: "keep no copy: it cannot be taken back, and a person is asked first" }),
    ),
  }),
  output: object({
    deleted: Type.Boolean(),
    permanent: Type.Boolean({ description: "no copy was kept: it cannot be taken back" }),
  }),
  resources: { path: "entry" },
  capabilities: ["fs:delete:{path}"],
  undo,
  whenFull: "for good",
  final: ({ permanent }) => (permanent ? "no copy is kept of what is deleted for good" : undefined),
  risk: "high",
  timeoutMs: 60_000,
  idempotent: false,
  preview: ({ input, resources, signal, forGood }) =>
    withEntry(resources.path.path, async (entry) => {
      checkDeletable(entry, input);
      return `${forGood ? "for good, it cannot be taken back:\n" : ""}${await showRemoval(entry, signal)}`;
    }),
  run: ({ executionId, input, resources, signal, forGood }, plan) =>
    named("delete", resources.path.path, () =>
      withEntry(resources.path.path, async (entry) => {
        checkDeletable(entry, input);
        if (plan === undefined) await removeEntry(entry, signal);
        else await exchange(entry, { act: "delete", stood: plan.fingerprint, executionId, signal });
        return { deleted: true, permanent: forGood };
      }),
    ),
});

function checkDeletable({ path, found }: Entry, { recursive }: Input): void {
  if (found === undefined) throw refused("delete", path, "it does not exist");
  if (mountAt(path) !== undefined) throw mountedThere("delete", path);
  if (found.isDirectory() && recursive !== true) {
    throw refused("delete", path, "it is a folder", "say recursive=true to delete it with all that lies in it");
  }
}
