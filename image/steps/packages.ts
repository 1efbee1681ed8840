import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import { keyring, release, sourceLines } from "../archive/apt-sources.ts";
import {
  driftBetween,
  formatLock,
  type LockedPackage,
  type PackageIndex,
  packagesLock,
  parseLock,
  pins,
  requireLocked,
} from "../archive/lock.ts";
import { type Archive, fetchIndex } from "../archive/sources.ts";
import { inBuildRoot } from "../build-root.ts";
import { removeTree } from "../files.ts";
import { type Profile, profileSpecs } from "../profile.ts";
import type { Step, StepWork } from "../step.ts";

const packagesList = "rootfs/packages.list";

/** The step that installs a profile's packages, and the files that say which: those of every machine first. */
export function packagesOf(profile: Profile): { step: string; lists: readonly string[]; locks: readonly string[] } {
  const { packages } = profileSpecs[profile];
  if (packages === undefined) return { step: "packages", lists: [packagesList], locks: [packagesLock] };
  const [list, lock] = [`rootfs/packages.${packages}.list`, `rootfs/packages.${packages}.lock`];
  return { step: `packages-${packages}`, lists: [packagesList, list], locks: [packagesLock, lock] };
}

/** What dpkg leaves out, at the build and later on the machine. */
const dpkgOptions = "rootfs/etc/dpkg/dpkg.cfg.d/aios";

/**
 * The Debian part of the root (`tree/`): the packages of rootfs/packages.list and the profile's own, and what they depend on,
 * in the versions of the locks. `packages.lock` is what was installed, `drift.json` how that differs from the lock.
 */
export function packagesStep(archive: Archive, allowDrift: boolean, profile: Profile): Step {
  const { step, lists, locks } = packagesOf(profile);
  return {
    name: step,
    modules: [import.meta.filename],
    files: [...locks, ...lists, dpkgOptions],
    params: { release, allowDrift, mirror: { ...archive.mirror } },
    needs: ["buildroot"],
    run: async (work) => {
      const folder = join(work.out, "scratch");
      mkdirSync(folder);
      const buildRoot = join(work.need("buildroot"), "tree");
      const index = await fetchIndex({ buildRoot, folder, aptOptions: archive.aptOptions, log: work.log });
      const locked = locks.flatMap((lock) => readLock(work.repository, lock));
      if (!allowDrift) requireLocked(locks.join(" and "), locked, index);
      writeFileSync(join(folder, "pins"), allowDrift ? "" : pins(locked));
      const wanted = lists.flatMap((list) => parseList(readFileSync(join(work.repository, list), "utf8")));
      await bootstrap(work, archive, wanted);
      await leaveOut(work, wanted);
      const installed = identify(await installedIn(work), index);
      const drift = driftBetween(locked, installed);
      if (!allowDrift) requireNoDrift(drift);
      clean(join(work.out, "tree"));
      removeTree(folder);
      writeFileSync(join(work.out, "packages.lock"), formatLock(installed));
      writeFileSync(join(work.out, "drift.json"), JSON.stringify(drift));
    },
  };
}

/** What a lock file of the repository holds. */
export function readLock(repository: string, lock: string): LockedPackage[] {
  const path = join(repository, lock);
  return existsSync(path) ? parseLock(lock, readFileSync(path, "utf8")) : [];
}

/** A package of rootfs/packages.list. */
interface WantedPackage {
  readonly name: string;
  /** What it depends on, by Debian's word, and is not to have. */
  readonly without: readonly string[];
}

/** The packages in rootfs/packages.list: "NAME" or "NAME without OTHERS" a line, `#` starts a comment. */
export function parseList(text: string): WantedPackage[] {
  return text.split("\n").flatMap((line) => {
    const [name, word, ...without] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (name === undefined || name === "") return [];
    if (word !== undefined && word !== "without")
      throw new Error(`${packagesList}: ${line}: expected NAME without OTHERS`);
    return [{ name, without }];
  });
}

/**
 * Removes what the list leaves out and takes it from the dependencies in dpkg's records, so that apt finds these whole on
 * the machine: it installs there what a later version, or another package, really needs.
 */
async function leaveOut({ out, need, log }: StepWork, wanted: readonly WantedPackage[]): Promise<void> {
  const without = wanted.flatMap((one) => one.without);
  if (without.length === 0) return;
  const buildRoot = join(need("buildroot"), "tree");
  const mounts = [{ from: out, at: "/out" }];
  const purge = ["dpkg", "--root=/out/tree", "--force-depends", "--purge", ...without];
  await inBuildRoot(buildRoot, purge, mounts, { log });
  const status = join(out, "tree/var/lib/dpkg/status");
  writeFileSync(status, withoutDependencies(readFileSync(status, "utf8"), wanted));
  await inBuildRoot(buildRoot, ["chroot", "/out/tree", "apt-get", "check"], mounts, { log });
}

/** dpkg's records with the dependencies of each package on what it is not to have taken out. */
export function withoutDependencies(status: string, wanted: readonly WantedPackage[]): string {
  const lacking = new Map(wanted.map(({ name, without }) => [name, without]));
  const stanzas = status.split("\n\n").map((stanza) => {
    const without = lacking.get(/^Package: (.+)$/m.exec(stanza)?.[1] ?? "") ?? [];
    if (without.length === 0) return stanza;
    return stanza.replace(/^((?:Pre-)?Depends: )(.*)$/gm, (_, field: string, list: string) => {
      const kept = list.split(", ").filter((one) => !without.includes(one.split(/[ :]/)[0] ?? ""));
      return field + kept.join(", ");
    });
  });
  return stanzas.join("\n\n");
}

async function bootstrap(
  { repository, out, need, log }: StepWork,
  archive: Archive,
  wanted: readonly WantedPackage[],
): Promise<void> {
  const aptOptions = ['Apt::Install-Recommends "false";', ...archive.aptOptions].map((option) => `--aptopt=${option}`);
  const pinHook = 'mkdir -p "$1/etc/apt/preferences.d" && cp /out/scratch/pins "$1/etc/apt/preferences.d/aios-lock"';
  const argv = [
    ...["mmdebstrap", "--verbose", "--mode=root", "--variant=apt", "--architectures=amd64", `--keyring=${keyring}`],
    ...aptOptions,
    "--dpkgopt=/in/dpkg.cfg.d/aios",
    `--setup-hook=${pinHook}`,
    `--include=${wanted.map(({ name }) => name).join(",")}`,
    ...[release, "/out/tree", ...sourceLines(archive.mirror)],
  ];
  const mounts = [
    { from: out, at: "/out" },
    { from: join(repository, "rootfs/etc/dpkg"), at: "/in" },
  ];
  await inBuildRoot(join(need("buildroot"), "tree"), argv, mounts, { log });
}

async function installedIn({ out, need, log }: StepWork): Promise<Array<{ name: string; version: string }>> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders.
  const argv = ["dpkg-query", "--admindir=/out/tree/var/lib/dpkg", "--show", "--showformat=${Package} ${Version}\\n"];
  const text = await inBuildRoot(join(need("buildroot"), "tree"), argv, [{ from: out, at: "/out" }], { log });
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const [name = "", version = ""] = line.split(" ");
      return { name, version };
    });
}

function identify(installed: ReadonlyArray<{ name: string; version: string }>, index: PackageIndex): LockedPackage[] {
  return installed.map(({ name, version }) => {
    const found = index.get(name)?.find((entry) => entry.version === version);
    if (found === undefined) throw new Error(`${name} ${version} was installed and the mirror's lists do not name it`);
    return found;
  });
}

function requireNoDrift(drift: readonly string[]): void {
  if (drift.length === 0) return;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "install the packages of",
    object: packagesLock,
    reason: `what was installed differs from the lock: ${drift.join("; ")}`,
    next: 'renew the lock with "npm run image -- --relock"',
  });
}

/** Leftovers of the installation: logs, lists, this host's name, backups, what would differ from build to build. */
const leftovers = [
  ...["etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/apt/preferences.d/aios-lock", "etc/apt/sources.list"],
  ...["etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "var/cache/ldconfig"],
  ...["etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-"],
  ...["var/lib/dpkg/status-old", "var/lib/dpkg/diversions-old", "var/lib/dpkg/statoverride-old"],
  ...["var/cache/debconf/config.dat-old", "var/cache/debconf/templates.dat-old"],
];

/** Folders that are empty on the machine until it fills them. */
const emptied = ["dev", "proc", "sys", "run", "tmp", "var/log", "var/tmp", "var/cache/apt", "var/lib/apt/lists"];

function clean(tree: string): void {
  for (const path of leftovers) rmSync(join(tree, path), { recursive: true, force: true });
  for (const folder of emptied)
    if (existsSync(join(tree, folder)))
      for (const entry of readdirSync(join(tree, folder))) removeTree(join(tree, folder, entry));
}
