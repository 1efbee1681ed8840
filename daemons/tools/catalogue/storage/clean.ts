import { readdir, rm, statfs } from "node:fs/promises";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { errnoOf } from "#lib/errors";
import { layout } from "#manifest";
import type { Keep, Ledger } from "../../ledger/index.ts";
import type { Undos } from "../../state/index.ts";
import { changes, type Tool } from "../../tool.ts";
import type { PackageWorld } from "../pkg/index.ts";
import { object } from "../shared/index.ts";

/** A database that was damaged and moved aside is kept this long, for whoever wants to save something of it. */
const asideKeptMs = 7 * 86_400_000;

export interface CleanWorld {
  readonly ledger: Pick<Ledger, "prune">;
  readonly undos: Pick<Undos, "forget" | "giveUp">;
  readonly clock: Clock;
  readonly packages: PackageWorld;
  readonly paths: { readonly state: string };
  /** How long the ledger is kept, as the configuration says. */
  keep(): Keep;
}

/** A part of the data that nobody misses: it says what it is, and how many of it went. */
interface Part {
  readonly what: string;
  clear(world: CleanWorld, signal: AbortSignal): Promise<number>;
}

const parts: readonly Part[] = [
  {
    what: "entries of the ledger that are older than they are kept",
    clear: (w, signal) => w.ledger.prune(w.keep(), signal),
  },
  { what: "copies of calls that can no longer be taken back", clear: ({ undos }) => undos.forget() },
  {
    what: "packages that were fetched to be installed",
    clear: ({ packages }) => removeFiles(`${packages.root}/var/cache/apt/archives`, /\.deb$/),
  },
  {
    what: "logs that were continued in another file",
    clear: ({ packages }) => removeFiles(`${packages.root}${layout.log}`, /\.log\.\d+$/),
  },
  { what: "damaged databases that were moved aside more than seven days ago", clear: removeAsides },
];

const copies: Part = {
  what: "copies by which calls could be taken back",
  clear: ({ undos }) => undos.giveUp(),
};

/** storage.clean. */
export const cleanTool = (world: CleanWorld): Tool =>
  changes({
    name: "storage.clean",
    summary:
      "Makes room: deletes old entries of the ledger, fetched packages, old logs and other things that nobody misses; tells what.",
    input: object({
      undo_copies: Type.Optional(
        Type.Boolean({
          description: "also the copies by which what was called in the last seven days could be taken back",
        }),
      ),
    }),
    output: object({
      freed_bytes: Type.Integer({ minimum: 0, description: "of the data volume, more than before" }),
      cleared: Type.Array(object({ what: Type.String(), count: Type.Integer() })),
    }),
    capabilities: ["storage:clean"],
    whenFull: "as ever",
    irreversible: "a copy of it would take the room that is to be made",
    risk: "medium",
    rootWhen: {
      what: "where it gives up what takes calls back",
      holds: ({ input }) => input.undo_copies === true,
    },
    timeoutMs: 120_000,
    idempotent: true,
    exclusive: "clean",
    preview: async ({ input }) =>
      partsFor(input)
        .map(({ what }) => `- ${what}\n`)
        .join(""),
    run: async ({ input, signal }) => {
      const before = await freeBytes(world.paths.state);
      const cleared = [];
      for (const part of partsFor(input)) {
        const count = await part.clear(world, signal);
        if (count > 0) cleared.push({ what: part.what, count });
      }
      return { freed_bytes: Math.max(0, (await freeBytes(world.paths.state)) - before), cleared };
    },
  });

const partsFor = ({ undo_copies = false }: { undo_copies?: boolean }) => (undo_copies ? [...parts, copies] : parts);

async function removeAsides({ paths, clock }: CleanWorld): Promise<number> {
  const before = clock.now() - asideKeptMs;
  let count = 0;
  for (const folder of await namesIn(paths.state))
    count += await removeFiles(
      `${paths.state}/${folder}`,
      /\.db\.aside-/,
      (name) => (asideAt(name) ?? before) < before,
    );
  return count;
}

/** When a file was moved aside, by its name ({@link moveAside} of lib/damaged.ts); undefined when the name does not tell. */
function asideAt(name: string): number | undefined {
  const [, day, ...time] = /\.aside-(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)-(\d{3})Z/.exec(name) ?? [];
  const [hours, minutes, seconds, ms] = time;
  return day === undefined ? undefined : Date.parse(`${day}T${hours}:${minutes}:${seconds}.${ms}Z`);
}

/** Removes the files of a folder whose names fit. Returns how many. */
async function removeFiles(
  folder: string,
  fits: RegExp,
  also: (name: string) => boolean = () => true,
): Promise<number> {
  const names = (await namesIn(folder)).filter((name) => fits.test(name) && also(name));
  for (const name of names) await rm(`${folder}/${name}`, { force: true });
  return names.length;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return [];
    throw error;
  }
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
