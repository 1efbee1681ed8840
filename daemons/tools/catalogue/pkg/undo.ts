import { timeoutSignal } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { ToolCall, Undo } from "../../tool.ts";
import type { ProgramOptions } from "../shared/index.ts";
import type { Apt, Change } from "./apt.ts";
import { bringBack, type KeptPackage, keepPackages } from "./kept-packages.ts";

/** A rollback is given up by its caller after two minutes; a program of it is not left to run for longer. */
const restoreTimeoutMs = 115_000;

const restoring = (): ProgramOptions => ({
  signal: timeoutSignal(restoreTimeoutMs),
  timeoutMs: restoreTimeoutMs,
});

/** The means to take a change of packages back. */
export interface ChangesPlan {
  /** What will be new, with its configuration: "purge" when nothing of it was there before. */
  readonly added: readonly { readonly name: string; readonly version: string; readonly by: "purge" | "remove" }[];
  /** What was there before, in its versions. */
  readonly before: readonly KeptPackage[];
  /** What the act makes of those before: their new version, or absent when they are removed. */
  readonly after: Readonly<Record<string, string>>;
  /** Of those before, what was only there because others need it. */
  readonly automatic: readonly string[];
}

/** Removes what an act added, and brings back what it replaced or removed, in the same versions. */
export function undoChanges<Input>(
  apt: Apt,
  changesOf: (call: ToolCall<Input, object>) => Promise<readonly Change[]>,
): Undo<Input, object, ChangesPlan> {
  return {
    prepare: async (call, backups) => {
      const options = { signal: call.signal, timeoutMs: 600_000 };
      await apt.ready(options);
      const changes = await changesOf(call);
      const replaced = changes.flatMap(({ name, from }) => (from === undefined ? [] : [{ name, version: from }]));
      const known = changes.length === 0 ? "" : await configured(apt, changes, options);
      return {
        added: changes.flatMap(({ name, from, to }) =>
          from !== undefined || to === undefined ? [] : [{ name, version: to, by: byOf(known, name) }],
        ),
        before: await keepPackages(apt, replaced, backups, options),
        after: Object.fromEntries(changes.flatMap(({ name, from, to }) => (from && to ? [[name, to]] : []))),
        automatic: await automaticOf(apt, replaced, options),
      };
    },
    restore: async (plan, { backups }) => {
      const options = restoring();
      await apt.ready(options);
      await checkUnchanged(apt, plan, options);
      for (const by of ["purge", "remove"] as const) await removeAdded(apt, plan, by, options);
      await bringBack(apt, await notThere(apt, plan.before, options), backups, options);
      if (plan.automatic.length > 0) await apt.run(["apt-mark", "auto", ...plan.automatic], options);
    },
    // What was cut off in the middle is finished, so that nothing stands half configured.
    settle: () => apt.ready(restoring()),
  };
}

/** The names of packages whose configuration is there without them. */
async function configured(apt: Apt, changes: readonly Change[], options: ProgramOptions): Promise<string> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders.
  const format = "--showformat=${db:Status-Status} ${Package}\\n";
  const all = await apt.run(["dpkg-query", "--show", format], options);
  return changes
    .map(({ name }) => `config-files ${name}`)
    .filter((line) => all.includes(`${line}\n`))
    .join("\n");
}

const byOf = (known: string, name: string) => (known.split("\n").includes(`config-files ${name}`) ? "remove" : "purge");

async function automaticOf(
  apt: Apt,
  packages: readonly { readonly name: string }[],
  options: ProgramOptions,
): Promise<string[]> {
  if (packages.length === 0) return [];
  const automatic = (await apt.run(["apt-mark", "showauto"], options)).split("\n");
  return packages.map(({ name }) => name).filter((name) => automatic.includes(name));
}

/** Throws where a package was changed again since: the later change is to be rolled back first. */
async function checkUnchanged(apt: Apt, { added, before, after }: ChangesPlan, options: ProgramOptions): Promise<void> {
  for (const { name, version } of added) {
    const now = await apt.installed(name, options);
    if (now !== undefined && now.version !== version) throw changedSince(name, now.version);
  }
  for (const { name, version } of before) {
    const now = (await apt.installed(name, options))?.version;
    if (now !== after[name] && now !== version) throw changedSince(name, now ?? "removed");
  }
}

async function removeAdded(apt: Apt, plan: ChangesPlan, by: "purge" | "remove", options: ProgramOptions) {
  const names: string[] = [];
  for (const { name, by: how } of plan.added) {
    const there = by === "purge" || (await apt.installed(name, options)) !== undefined;
    if (how === by && there) names.push(name);
  }
  if (names.length === 0) return;
  const ours = new Set(plan.added.map(({ name }) => name));
  const others = (await apt.simulate(by, names, options)).map(({ name }) => name).filter((name) => !ours.has(name));
  if (others.length > 0) {
    throw new AiosError("FAILED_PRECONDITION", {
      act: "remove again",
      object: names.join(", "),
      reason: `${others.slice(0, 5).join(", ")} came to need it since`,
      next: "roll back that installation first",
    });
  }
  await apt.get(by, names, options);
}

async function notThere(apt: Apt, kept: readonly KeptPackage[], options: ProgramOptions): Promise<KeptPackage[]> {
  const missing: KeptPackage[] = [];
  for (const one of kept) if ((await apt.installed(one.name, options))?.version !== one.version) missing.push(one);
  return missing;
}

function changedSince(name: string, now: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "restore",
    object: `package ${name}`,
    reason: `it was changed again since (now ${now})`,
    next: "roll back the later change first",
  });
}

interface LockPlan {
  readonly name: string;
  readonly locked: boolean;
}

export function undoLock(apt: Apt): Undo<{ name: string }, object, LockPlan> {
  return {
    prepare: async ({ input: { name }, signal }) => ({
      name,
      locked: (await apt.installed(name, { signal }))?.locked ?? false,
    }),
    restore: async ({ name, locked }) => {
      const now = await apt.installed(name, restoring());
      if (now !== undefined && now.locked !== locked) {
        await apt.run(["apt-mark", locked ? "hold" : "unhold", name], restoring());
      }
    },
  };
}
