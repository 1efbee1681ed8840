import { AiosError } from "#lib/errors";

/** One package, exactly: its version and the SHA-256 of its .deb. */
export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
}

/** The lock of every machine's packages. */
export const packagesLock = "rootfs/packages.lock";

/** What a mirror offers: every version of every package, by name. */
export type PackageIndex = ReadonlyMap<string, readonly LockedPackage[]>;

const header = `# name version SHA-256, one line per package, dependencies included.
# Written by "npm run image -- --relock"; do not edit.
`;

/** Reads a lock file. Throws INVALID_ARGUMENT with file and line. */
export function parseLock(file: string, text: string): LockedPackage[] {
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "" || line.startsWith("#")) return [];
    const [name = "", version = "", sha256 = "", ...rest] = line.trim().split(/\s+/);
    if (rest.length > 0 || !/^[0-9a-f]{64}$/.test(sha256))
      throw new AiosError("INVALID_ARGUMENT", {
        act: "read",
        object: `${file}:${index + 1}`,
        reason: "expected a package's name, its version and its SHA-256",
        next: "renew it with: npm run image -- --relock",
      });
    return [{ name, version, sha256 }];
  });
}

export function formatLock(packages: readonly LockedPackage[]): string {
  const lines = packages.map(({ name, version, sha256 }) => `${name} ${version} ${sha256}\n`);
  return header + lines.sort().join("");
}

/** Reads the stanzas of a Packages file of an archive into `index`. */
export function addToIndex(index: Map<string, LockedPackage[]>, packages: string): void {
  for (const stanza of packages.split("\n\n")) {
    const name = /^Package: (.+)$/m.exec(stanza)?.[1];
    const version = /^Version: (.+)$/m.exec(stanza)?.[1];
    const sha256 = /^SHA256: (.+)$/m.exec(stanza)?.[1];
    if (name === undefined || version === undefined || sha256 === undefined) continue;
    index.set(name, [...(index.get(name) ?? []), { name, version, sha256 }]);
  }
}

/** Throws NOT_FOUND naming each locked package that the mirror does not have in that version, or has with other bytes. */
export function requireLocked(file: string, locked: readonly LockedPackage[], index: PackageIndex): void {
  const missing = locked.flatMap((wanted) => {
    const offered = index.get(wanted.name) ?? [];
    const found = offered.find(({ version }) => version === wanted.version);
    if (found?.sha256 === wanted.sha256) return [];
    if (found !== undefined) return [`${wanted.name} ${wanted.version} with other content than locked`];
    const versions = offered.map(({ version }) => version).join(", ");
    return [`${wanted.name} ${wanted.version} (the mirror has ${versions === "" ? "none" : versions})`];
  });
  if (missing.length === 0) return;
  throw new AiosError("NOT_FOUND", {
    act: "find locked packages of",
    object: file,
    reason: `the mirror no longer has ${missing.join("; ")}`,
    next: 'renew the lock with "npm run image -- --relock", or build with today\'s packages once: --allow-drift',
  });
}

/** How `installed` differs from `locked`, one line each: "curl 1 → 2", "curl 2 is new", "curl 1 is gone". */
export function driftBetween(locked: readonly LockedPackage[], installed: readonly LockedPackage[]): string[] {
  const before = new Map(locked.map((entry) => [entry.name, entry]));
  const after = new Map(installed.map((entry) => [entry.name, entry]));
  return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((name) => {
    const [was, is] = [before.get(name), after.get(name)];
    if (was === undefined) return [`${name} ${is?.version} is new`];
    if (is === undefined) return [`${name} ${was.version} is gone`];
    return was.version === is.version && was.sha256 === is.sha256 ? [] : [`${name} ${was.version} → ${is.version}`];
  });
}

/** apt preferences that make apt take the locked versions and no others. */
export function pins(locked: readonly LockedPackage[]): string {
  return locked
    .map(({ name, version }) => `Package: ${name}\nPin: version ${version}\nPin-Priority: 1001\n`)
    .join("\n");
}
