import { existsSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { AiosError } from "#lib/errors";
import { importPath } from "#lib/import-path";

const ownRoot = resolve(import.meta.dirname, "..");

/** Whatever could name a file of ours: imports and re-exports, static or not. */
const importPattern = /(?:\bfrom\s*|\bimport\s*\(?\s*)(["'`])([^"'`\n]+)\1/g;

/** A statement that takes types only: of it nothing is there when the program runs. */
const typesOnly = /^(?:import|export)\s+type\s[^;]*$/;

/**
 * The files of the house that `modules` are made of, sorted: themselves and all that they import, directly or not, but what
 * they take for its types alone. Modules are paths from the repository's root, or `import.meta.filename` of one of ours.
 * Throws NOT_FOUND for a module that is not there.
 */
export function closureOf(modules: readonly string[], repository: string): string[] {
  const found = new Set<string>();
  const visit = (path: string): void => {
    if (found.has(path)) return;
    found.add(path);
    for (const imported of importsOf(path, readFileSync(join(repository, path), "utf8")))
      if (existsSync(join(repository, imported))) visit(imported);
  };
  for (const module of modules) {
    const path = relative(ownRoot, resolve(ownRoot, module));
    if (!existsSync(join(repository, path)))
      throw new AiosError("NOT_FOUND", { act: "follow the imports of", object: path, reason: "no such module" });
    visit(path);
  }
  return [...found].sort();
}

function importsOf(path: string, text: string): string[] {
  if (!path.endsWith(".ts")) return [];
  return [...text.matchAll(importPattern)].flatMap(({ 2: specifier = "", index }) => {
    const statement = text.slice(startOf(text, index), index);
    const imported = importPath(path, specifier);
    return imported === undefined || typesOnly.test(statement) ? [] : [imported];
  });
}

/** Where the statement begins that holds a `from`: its keyword stands at the start of a line. */
function startOf(text: string, index: number): number {
  const start = Math.max(text.lastIndexOf("\nimport ", index), text.lastIndexOf("\nexport ", index));
  return start < 0 ? 0 : start + 1;
}
