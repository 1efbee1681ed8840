import * as Type from "typebox";
import { errnoOf } from "#lib/errors";
import type { Backups } from "../../state/index.ts";
import { changes, type Undo } from "../../tool.ts";
import {
  absolutePath,
  changedSince,
  copyEntry,
  type Entry,
  exchange,
  keepEntry,
  measure,
  named,
  object,
  putBackEntry,
  refused,
  removeAside,
  removeEntry,
  settleAside,
  showArrival,
  temporaryOf,
  undoSignal,
  withEntry,
} from "../shared/index.ts";

interface TransferPlan {
  readonly source: string;
  readonly destination: string;
  /** What is moved or copied. */
  readonly fingerprint: string;
  /** Fingerprint of the file that stood at the destination; it is the backup "replaced". */
  readonly replaced?: string;
}

type Input = { source: string; destination: string; overwrite?: boolean };
type Resources = { readonly source: { readonly path: string }; readonly destination: { readonly path: string } };

const backupName = "replaced";

const input = object({
  source: absolutePath,
  destination: absolutePath,
  overwrite: Type.Optional(Type.Boolean({ description: "replace a file that stands at the destination" })),
});

async function prepare(
  act: string,
  input: Input,
  { source, destination }: Resources,
  backups: Backups,
  signal: AbortSignal,
): Promise<TransferPlan> {
  return between(act, source.path, destination.path, async (from, to) => {
    checkTransfer(act, from, to, input);
    const { fingerprint } = await measure(from, signal);
    const plan = { source: from.path, destination: to.path, fingerprint };
    if (to.found === undefined) return plan;
    return { ...plan, replaced: (await keepEntry(to, backupName, backups, signal)).fingerprint };
  });
}

const undoMove: Undo<Input, { source: "entry"; destination: "entry" }, TransferPlan> = {
  prepare: ({ input, resources, signal }, backups) => prepare("move", input, resources, backups, signal),
  restore: (plan, { executionId, backups }) =>
    between("restore", plan.source, plan.destination, async (from, to) => {
      const signal = undoSignal();
      if (from.found === undefined && to.found !== undefined) {
        await moveEntry(to, from, undefined, executionId, signal);
      } else if (from.found === undefined) {
        throw refused("restore", plan.source, `${plan.destination}, where it was moved to, does not exist`);
      } else if ((await measure(from, signal)).fingerprint !== plan.fingerprint) {
        throw refused("restore", plan.source, "something else stands there now", "move it away first");
      }
      if (plan.replaced !== undefined) await putBackEntry(to, backupName, backups, signal);
    }),
  settle: (plan, { executionId }) =>
    settled(plan, async (from, to) => {
      await removeEntry(temporaryOf(to, executionId), undoSignal());
      const isMoved = async (entry: Entry) =>
        entry.found !== undefined && (await measure(entry, undoSignal())).fingerprint === plan.fingerprint;
      if (plan.replaced !== undefined || !(await isMoved(to))) return settleAside(from, executionId, undoSignal());
      // The whole of it stands at the destination: the removal of the source had begun, or was about to.
      await removeAside(from, executionId, undoSignal());
      if (await isMoved(from)) await removeEntry(from, undoSignal());
    }),
};

const undoCopy: Undo<Input, { source: "path"; destination: "entry" }, TransferPlan> = {
  prepare: ({ input, resources, signal }, backups) => prepare("copy", input, resources, backups, signal),
  restore: (plan, { executionId, backups }) =>
    named("restore", plan.destination, () =>
      withEntry(plan.destination, async (to) => {
        const signal = undoSignal();
        if (to.found !== undefined) {
          const now = await measure(to, signal);
          if (now.fingerprint !== plan.fingerprint) throw changedSince("restore", plan.destination);
          await exchange(to, { act: "restore", stood: plan.fingerprint, executionId, signal });
        }
        if (plan.replaced !== undefined) await putBackEntry(to, backupName, backups, signal);
      }),
    ),
  settle: (plan, { executionId }) => settled(plan, (_, to) => removeEntry(temporaryOf(to, executionId), undoSignal())),
};

export const move = changes({
  name: "fs.move",
  summary:
    "Moves or renames a file or folder. The destination's folder must exist, the destination itself not (or overwrite).",
  input,
  output: object({ moved: Type.Boolean() }),
  resources: { source: "entry", destination: "entry" },
  capabilities: ["fs:move:{source}", "fs:write:{destination}"],
  undo: undoMove,
  risk: "medium",
  timeoutMs: 120_000,
  idempotent: false,
  preview: ({ input, resources: { source, destination }, signal }) =>
    between("move", source.path, destination.path, async (from, to) => {
      checkTransfer("move", from, to, input);
      return `- ${from.path}\n${await showArrival(from, to, signal)}`;
    }),
  run: ({ executionId, input, resources: { source, destination }, signal }, plan) =>
    between("move", source.path, destination.path, async (from, to) => {
      checkTransfer("move", from, to, input);
      await moveEntry(from, to, plan?.replaced, executionId, signal);
      return { moved: true };
    }),
});

export const copy = changes({
  name: "fs.copy",
  summary:
    "Copies a file, or a folder with all that lies in it; owners, modes and times are kept. The destination's folder must exist.",
  input,
  output: object({ bytes_copied: Type.Integer(), entries: Type.Integer() }),
  resources: { source: "path", destination: "entry" },
  uses: { source: "copy" },
  capabilities: ["fs:copy:{source}", "fs:write:{destination}"],
  undo: undoCopy,
  risk: "medium",
  timeoutMs: 120_000,
  idempotent: false,
  preview: ({ input, resources: { source, destination }, signal }) =>
    between("copy", source.path, destination.path, async (from, to) => {
      checkTransfer("copy", from, to, input);
      return showArrival(from, to, signal);
    }),
  run: ({ executionId, input, resources: { source, destination }, signal }, plan) =>
    between("copy", source.path, destination.path, async (from, to) => {
      checkTransfer("copy", from, to, input);
      const temporary = temporaryOf(to, executionId);
      try {
        await copyEntry(from, temporary, signal);
        const { bytes, entries } = await withEntry(temporary.path, (copied) => measure(copied, signal));
        const how = { act: "copy to", stood: plan?.replaced, executionId, signal };
        await exchange(to, { ...how, next: temporary.place });
        return { bytes_copied: bytes, entries };
      } catch (error) {
        await removeEntry(temporary, undoSignal());
        throw error;
      }
    }),
});

/** Moves an entry to a name where nothing stands, or to replace a file; over file systems by way of a copy. */
async function moveEntry(
  from: Entry,
  to: Entry,
  replaced: string | undefined,
  executionId: string,
  signal: AbortSignal,
): Promise<void> {
  const put = (next: string) => exchange(to, { act: "move to", stood: replaced, next, executionId, signal });
  try {
    await put(from.place);
  } catch (error) {
    if (errnoOf(error) !== "EXDEV") throw error;
    const { fingerprint: stood } = await measure(from, signal);
    const temporary = temporaryOf(to, executionId);
    try {
      await copyEntry(from, temporary, signal);
      await put(temporary.place);
    } catch (failure) {
      await removeEntry(temporary, undoSignal());
      throw failure;
    }
    await exchange(from, { act: "remove", stood, executionId, signal });
  }
}

const between = <T>(
  act: string,
  source: string,
  destination: string,
  work: (from: Entry, to: Entry) => Promise<T>,
): Promise<T> =>
  named(act, `${source} to ${destination}`, () =>
    withEntry(source, (from) => withEntry(destination, (to) => work(from, to))),
  );

/** As `between`; where a folder went away since there is nothing to clear. */
async function settled(plan: TransferPlan, work: (from: Entry, to: Entry) => Promise<void>): Promise<void> {
  try {
    await withEntry(plan.source, (from) => withEntry(plan.destination, (to) => work(from, to)));
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

function checkTransfer(act: string, from: Entry, to: Entry, { overwrite = false }: Input): void {
  if (from.found === undefined) throw refused(act, from.path, "it does not exist");
  if (`${to.path}/`.startsWith(`${from.path}/`)) throw refused(act, from.path, `${to.path} lies in it`);
  if (to.found === undefined) return;
  if (!overwrite) throw refused(act, from.path, `${to.path} exists already`, "say overwrite=true to replace a file");
  if (to.found.isDirectory() || from.found.isDirectory()) {
    throw refused(
      act,
      from.path,
      `${to.path} exists already, and only a file is replaced by a file`,
      "delete it first",
    );
  }
}
