import { globSync, statSync } from "node:fs";
import { parseCapability } from "#lib/capability";
import type { Grant } from "../../access/index.ts";

/** Files that one grant shows at most. */
const filesMax = 500;

/**
 * What the grants of an agent over files name, as a sandbox can show it: a folder with all in it where the grant is of all in it,
 * else the files that stand now.
 */
export function filesGranted(grants: readonly Grant[]): string[] {
  const named = grants
    .map(({ capability }) => parseCapability(capability))
    .filter(({ namespace, action }) => namespace === "fs" && action === "read")
    .map(({ resource = "" }) => resource);
  return [...new Set(named.flatMap(shown))];
}

function shown(glob: string): string[] {
  const folder = /^(\/[^*?[\]{}()!\\]*)\/\*\*$/.exec(glob)?.[1] ?? (glob === "/**" ? "/" : undefined);
  if (folder !== undefined) return kindOf(folder) === "folder" ? [folder] : [];
  if (!/[*?\\]/.test(glob)) return kindOf(glob) === "file" ? [glob] : [];
  return globSync(glob)
    .slice(0, filesMax)
    .filter((path) => kindOf(path) === "file");
}

function kindOf(path: string): "file" | "folder" | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() ? "folder" : found?.isFile() ? "file" : undefined;
}
