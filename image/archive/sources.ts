import { existsSync, globSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inBuildRoot, type Mount } from "../build-root.ts";
import { command } from "../command.ts";
import type { StepLog } from "../log.ts";
import { type Mirror, mirrorFrom, mirrorFromSetting, parseAptSources } from "./apt-sources.ts";
import { addToIndex, type LockedPackage, type PackageIndex } from "./lock.ts";

/** How this host reaches Debian's archives. Everything that a build downloads comes from there. */
export interface Archive {
  readonly mirror: Mirror;
  /** Proxy settings of the host's apt, as options of apt. They change how, not what: no step's key holds them. */
  readonly aptOptions: readonly string[];
}

/** The archive that the host's apt is configured for, or `setting` (AIOS_MIRROR). */
export async function hostArchive(setting: string | undefined): Promise<Archive> {
  const mirror = setting === undefined ? mirrorFrom(hostSources()) : mirrorFromSetting(setting);
  const dump = await command(["apt-config", "dump", "--format", "%F %v%n", "Acquire"]);
  const aptOptions = dump.split("\n").flatMap((line) => {
    const [, name, value] = /^(Acquire::https?::(?:[^ ]+::)?Proxy) (.+)$/i.exec(line) ?? [];
    return name === undefined ? [] : [`${name} "${value}";`];
  });
  return { mirror, aptOptions };
}

function hostSources() {
  const files = ["/etc/apt/sources.list", ...globSync("/etc/apt/sources.list.d/*.{list,sources}").sort()];
  return files.filter((path) => existsSync(path)).flatMap((path) => parseAptSources(path, readFileSync(path, "utf8")));
}

/** Options that keep apt's state out of the build root, which is never written to: lists and downloads go to /out. */
const aptElsewhere = [
  ["-o", "Dir::State::lists=/out/lists"],
  ["-o", "Dir::Cache=/out/cache"],
  ["-o", "Acquire::GzipIndexes=false"],
  ["-o", "APT::Sandbox::User=root"],
  // How much of a file is there goes to the log.
  ["-o", "APT::Status-Fd=2"],
].flat();

/** What a download needs: the build root, a folder for apt's lists and files, the host's proxy settings. */
interface Download {
  readonly buildRoot: string;
  readonly folder: string;
  readonly aptOptions: readonly string[];
  readonly log: StepLog;
}

function apt(download: Download, tool: "apt-get" | "apt-cache", ...argv: string[]): Promise<string> {
  return aptWith(download, [], tool, ...argv);
}

function aptWith(download: Download, more: readonly Mount[], tool: string, ...argv: string[]): Promise<string> {
  const options = download.aptOptions.flatMap((option) => ["-o", option.replace(/ "(.*)";$/, "=$1")]);
  const mounts = [{ from: download.folder, at: "/out" }, ...more];
  return inBuildRoot(download.buildRoot, ["env", "--chdir=/out", tool, ...aptElsewhere, ...options, ...argv], mounts, {
    log: download.log,
  });
}

/** Fetches the mirror's lists of packages. */
export async function fetchIndex(download: Download): Promise<PackageIndex> {
  const lists = join(download.folder, "lists");
  mkdirSync(join(lists, "partial"), { recursive: true });
  mkdirSync(join(download.folder, "cache/archives/partial"), { recursive: true });
  await apt(download, "apt-get", "update", "--error-on=any");
  const index = new Map<string, LockedPackage[]>();
  for (const name of readdirSync(lists).sort())
    if (name.endsWith("_Packages")) addToIndex(index, readFileSync(join(lists, name), "utf8"));
  return index;
}

/** Downloads one package in one version (apt checks it against the archive's signature); returns the .deb's path. */
export async function fetchPackage(download: Download, wanted: LockedPackage): Promise<string> {
  const { name, version } = wanted;
  await apt(download, "apt-get", "download", `${name}=${version}`);
  const file = readdirSync(download.folder).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith(".deb"));
  if (file === undefined) throw new Error(`apt fetched no ${name}`);
  return join(download.folder, file);
}

/** The packages, by name, that apt would add to the root file system `tree` to install `names`. Call fetchIndex before. */
export async function additionsTo(download: Download, tree: string, names: readonly string[]): Promise<string[]> {
  const status = ["-o", "Dir::State::status=/in/var/lib/dpkg/status"];
  const what = ["install", "--simulate", "--no-install-recommends", ...names];
  const text = await aptWith(download, [{ from: tree, at: "/in" }], "apt-get", ...status, ...what);
  return [...text.matchAll(/^Inst (\S+)/gm)].map(([, name = ""]) => name);
}

/** Downloads the newest version of each package into the download's folder; returns their records, as archives list them. */
export async function fetchNewest(download: Download, names: readonly string[]): Promise<string[]> {
  await apt(download, "apt-get", "download", ...names);
  const records = await apt(download, "apt-cache", "show", "--no-all-versions", ...names);
  return records.split("\n\n").filter((record) => record.trim() !== "");
}

/** The version that apt would install today: the newest of all archives. Undefined when the mirror does not have the package. */
export async function candidateOf(download: Download, name: string): Promise<string | undefined> {
  const text = await apt(download, "apt-cache", "show", "--no-all-versions", name).catch(() => "");
  return /^Version: (.+)$/m.exec(text)?.[1];
}
