/**
 * `npm run lock`: renews package-lock.json after a change of package.json.
 *
 * npm leaves out of the lock the optional packages of other platforms that the registry at hand lacks, and `npm ci` then
 * refuses the lock as incomplete. They are never installed (.npmrc: omit=optional), so their names and versions are enough.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

interface Locked {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const root = resolve(import.meta.dirname, "..");
const path = join(root, "package-lock.json");

execFileSync("npm", ["install", "--package-lock-only", "--include=optional"], { cwd: root, stdio: "inherit" });
const lock = JSON.parse(readFileSync(path, "utf8")) as { packages: Record<string, Locked> };
for (const [name, missing] of missingOptionals(lock.packages)) lock.packages[name] = missing;
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);

/** What the lock refers to and does not hold, as packages for no platform. */
function missingOptionals(packages: Readonly<Record<string, Locked>>): [string, Locked][] {
  return Object.entries(packages).flatMap(([at, { dev, optionalDependencies }]) =>
    Object.entries(optionalDependencies ?? {})
      .filter(([name]) => !(`node_modules/${name}` in packages || `${at}/node_modules/${name}` in packages))
      .map(([name, range]): [string, Locked] => [
        `node_modules/${name}`,
        { version: range.replace(/^[~^]/, ""), ...(dev && { dev }), optional: true, os: ["none"] },
      ]),
  );
}
