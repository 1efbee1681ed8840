import { existsSync, readFileSync } from "node:fs";
import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import { changes, type Tool } from "../../tool.ts";
import { type Outbound, object, type ProgramOptions } from "../shared/index.ts";
import { type Apt, type Change, openApt, type PackageWorld, packageName, packageVersion } from "./apt.ts";
import { withConfiguration } from "./kept-configuration.ts";
import { type ChangesPlan, undoChanges, undoLock } from "./undo.ts";

/** Downloads over a slow line, unpacking under emulation. */
const changeTimeoutMs = 900_000;
const updateTimeoutMs = 300_000;

/** The packages that the image came with. */
const imagePackages = "/usr/share/aios/packages.lock";

const changed = Type.Array(
  object({
    name: Type.String(),
    from: Type.Optional(Type.String({ description: "the version before; absent when it was not installed" })),
    to: Type.Optional(Type.String({ description: "the version after; absent when it was removed" })),
  }),
);

const facts = {
  exclusive: "packages",
  risk: "medium",
  timeoutMs: changeTimeoutMs,
  idempotent: true,
} as const;

interface Wanted {
  readonly name: string;
  readonly version?: string;
}

interface Unwanted {
  readonly name: string;
  readonly dependents?: boolean;
  readonly purge?: boolean;
}

export function packageChanges(world: PackageWorld, outbound: Outbound): readonly Tool[] {
  const apt = openApt(world, outbound);
  return [
    installTool(apt),
    removeTool(apt, world),
    updateTool(apt),
    upgradeTool(apt),
    lockTool(apt, "lock", true),
    lockTool(apt, "unlock", false),
  ];
}

const optionsOf = (signal: AbortSignal): ProgramOptions => ({ signal, timeoutMs: changeTimeoutMs });

const installTool = (apt: Apt) =>
  changes({
    ...facts,
    name: "pkg.install",
    summary: "Installs a Debian package and what it depends on; its services are not started. It removes nothing.",
    input: object({ name: packageName, version: Type.Optional(packageVersion) }),
    output: object({ installed: Type.Boolean(), version: Type.String(), changes: changed }),
    capabilities: ["pkg:install:{name}"],
    undo: undoChanges<Wanted>(apt, async ({ input, signal }) => (await installation(apt, input, signal)).changes),
    preview: async ({ input, signal }) => lines((await installation(apt, input, signal)).changes),
    run: async ({ input, signal }) => {
      const { wanted, words, changes } = await installation(apt, input, signal);
      if (words.length > 0) await apt.get("install", words, optionsOf(signal));
      return { installed: true, version: wanted, changes: changes.map(told) };
    },
  });

async function installation(apt: Apt, { name, version }: Wanted, signal: AbortSignal) {
  const wanted = version ?? (await apt.candidate(name, optionsOf(signal)));
  const now = await apt.installed(name, optionsOf(signal));
  // Removing is another tool's: an installation that would need it is refused by apt.
  const words = now?.version === wanted ? [] : ["--no-remove", `${name}=${wanted}`];
  const changes = words.length === 0 ? [] : await apt.simulate("install", words, optionsOf(signal));
  return { wanted, words, changes };
}

const removeTool = (apt: Apt, world: PackageWorld) =>
  changes({
    ...facts,
    name: "pkg.remove",
    summary:
      "Removes an installed Debian package; its configuration files stay, unless purge is said. Nothing that the image came with.",
    input: object({
      name: packageName,
      dependents: Type.Optional(Type.Boolean({ description: "remove what needs it too" })),
      purge: Type.Optional(Type.Boolean({ description: "its configuration files too; a rollback brings them back" })),
    }),
    output: object({ removed: Type.Boolean({ description: "it was installed before" }), changes: changed }),
    capabilities: ["pkg:remove:{name}"],
    risk: "high",
    confirmation: true,
    undo: withConfiguration<Unwanted, ChangesPlan>(
      { apt, root: world.root },
      undoChanges<Unwanted>(apt, ({ input, signal }) => removal(apt, world, input, signal)),
      async (input, signal) => (await removal(apt, world, input, signal)).map(({ name }) => name),
    ),
    preview: async ({ input, signal }) => lines(await removal(apt, world, input, signal)),
    run: async ({ input, signal }) => {
      const changes = await removal(apt, world, input, signal);
      if (changes.length > 0)
        await apt.get(
          input.purge === true ? "purge" : "remove",
          changes.map(({ name }) => name),
          optionsOf(signal),
        );
      return { removed: changes.length > 0, changes: changes.map(told) };
    },
  });

/** The packages that a removal takes away. Throws FAILED_PRECONDITION where they are more than was asked, or the image's. */
async function removal(
  apt: Apt,
  world: PackageWorld,
  { name, dependents = false, purge = false }: Unwanted,
  signal: AbortSignal,
): Promise<readonly Change[]> {
  if ((await apt.installed(name, optionsOf(signal))) === undefined) return [];
  const changes = await apt.simulate(purge ? "purge" : "remove", [name], optionsOf(signal));
  const others = changes.map((change) => change.name).filter((other) => other !== name);
  if (others.length > 0 && !dependents) {
    throw refused("remove", name, `${list(others)} need it`, 'remove them too with "dependents": true');
  }
  const needed = changes.filter((change) => imageHas(world, change.name));
  if (needed.length > 0) throw refused("remove", list(needed.map((one) => one.name)), "the image is made of it");
  return changes;
}

const upgrade = (apt: Apt, signal: AbortSignal) => apt.simulate("upgrade", [], optionsOf(signal));

const upgradeTool = (apt: Apt) =>
  changes({
    ...facts,
    name: "pkg.upgrade",
    summary: "Upgrades every installed package that has a newer version and is not locked. Removes and adds none.",
    input: object({}),
    output: object({ changes: changed }),
    capabilities: ["pkg:upgrade"],
    undo: undoChanges(apt, ({ signal }) => upgrade(apt, signal)),
    preview: async ({ signal }) => lines(await upgrade(apt, signal)),
    run: async ({ signal }) => {
      const changes = await upgrade(apt, signal);
      if (changes.length > 0) await apt.get("upgrade", [], optionsOf(signal));
      return { changes: changes.map(told) };
    },
  });

const updateTool = (apt: Apt) =>
  changes({
    ...facts,
    name: "pkg.update",
    summary: "Fetches the archive's lists of packages anew, and tells how many packages have a newer version.",
    input: object({}),
    output: object({ upgradable: Type.Integer() }),
    capabilities: ["pkg:update"],
    timeoutMs: updateTimeoutMs,
    irreversible: "what the archive offers is not ours to take back; no package changes",
    run: async ({ signal }) => {
      await apt.get("update", ["--error-on=any"], { signal, timeoutMs: updateTimeoutMs });
      return { upgradable: (await upgrade(apt, signal)).length };
    },
  });

function lockTool(apt: Apt, verb: "lock" | "unlock", locked: boolean): Tool {
  return changes({
    ...facts,
    name: `pkg.${verb}`,
    summary: locked
      ? "Locks an installed package at its version: no upgrade changes it."
      : "Lets upgrades change a package again that was locked.",
    input: object({ name: packageName }),
    output: object({ name: Type.String(), locked: Type.Boolean() }),
    capabilities: ["pkg:lock:{name}"],
    risk: "low",
    timeoutMs: 60_000,
    undo: undoLock(apt),
    run: async ({ input: { name }, signal }) => {
      if ((await apt.installed(name, { signal })) === undefined) {
        throw refused(verb, name, "it is not installed");
      }
      await apt.run(["apt-mark", locked ? "hold" : "unhold", name], { signal });
      return { name, locked: (await apt.installed(name, { signal }))?.locked ?? false };
    },
  });
}

const told = ({ name, from, to }: Change) => ({
  name,
  ...(from !== undefined && { from }),
  ...(to !== undefined && { to }),
});

/** The result of apt's simulation, a line for each package. */
function lines(changes: readonly Change[]): string {
  const told = changes.map(({ name, from, to }) => {
    if (from === undefined) return `+ ${name} ${to}`;
    return to === undefined ? `- ${name} ${from}` : `  ${name} ${from} -> ${to}`;
  });
  return told.join("\n") || "no package changes";
}

/** A root without the list protects only what Debian calls essential. */
function imageHas({ root }: PackageWorld, name: string): boolean {
  const path = `${root}${imagePackages}`;
  return (
    existsSync(path) &&
    readFileSync(path, "utf8")
      .split("\n")
      .some((line) => line.startsWith(`${name} `))
  );
}

const list = (names: readonly string[]) =>
  names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`;

function refused(act: string, name: string, reason: string, next?: string): AiosError {
  const fault = { act, object: `package ${name}`, reason };
  return new AiosError("FAILED_PRECONDITION", next === undefined ? fault : { ...fault, next });
}
