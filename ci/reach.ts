/**
 * Which unit tests a change can reach: by imports, and by every path that a source names (child programs, bundles,
 * shipped files). It errs towards too many: what cannot be told from the sources is taken for a reach.
 */
import { dirname, normalize } from "node:path";
import { importPath } from "#lib/import-path";
import type { Source } from "./modules.ts";

/** Tests beside the code; those of the booted machine are only for `npm test`. */
export const isUnitTest = (path: string) => path.endsWith(".test.ts") && !path.startsWith("qemu/tests/");

/** What every test stands on. */
const ground =
  /^(package\.json|package-lock\.json|\.npmrc|tsconfig\.json|vitest\.config\.ts|ci\/(setup|durations\.ts))$/;

/** For people, for the check's other parts or for the machine's tests, unless a unit test names it. */
const apart =
  /\.md$|^LICENSE$|^\.gitignore$|^biome\.json$|^findings\/|^\.ci\/|^ci\/\w+\.ts$|^proto\/.*\.proto$|^buf\..*yaml$|^qemu\//;

export interface Reach {
  readonly tests: readonly string[];
  /** Why these are all the unit tests there are. */
  readonly because?: string;
}

/** The tests that `changed` can reach. `paths` are all files, `sources` the TypeScript among them. */
export function reachOf(changed: readonly string[], paths: readonly string[], sources: readonly Source[]): Reach {
  const all = paths.filter(isUnitTest);
  const foundation = changed.find((path) => ground.test(path));
  if (foundation !== undefined) return { tests: all, because: `every test stands on ${foundation}` };
  const references = referencesOf([...new Set([...paths, ...changed])], sources);
  const reads = all.map((test) => ({ test, files: closure(test, references) }));
  const unread = changed.find((path) => !apart.test(path) && !reads.some(({ files }) => files.has(path)));
  if (unread !== undefined) return { tests: all, because: `no source tells which test reads ${unread}` };
  return { tests: reads.filter(({ files }) => changed.some((path) => files.has(path))).map(({ test }) => test) };
}

interface References {
  /** Imported, or named as a file: what these name counts too. */
  readonly files: readonly string[];
  /** In a folder that is named: they are read, not run. */
  readonly read: readonly string[];
}

function closure(test: string, references: ReadonlyMap<string, References>): ReadonlySet<string> {
  const run = new Set([test]);
  const read = new Set<string>();
  for (const path of run) {
    const named = references.get(path);
    // No test runs another one.
    for (const file of named?.files ?? []) (file.endsWith(".test.ts") ? read : run).add(file);
    for (const file of named?.read ?? []) read.add(file);
  }
  return new Set([...run, ...read]);
}

function referencesOf(paths: readonly string[], sources: readonly Source[]): Map<string, References> {
  const tree = treeOf(paths);
  const doors = new Map(sources.flatMap(({ path, text }) => doorOf(path, text)));
  return new Map(sources.map(({ path, text }) => [path, referencesIn(path, text, tree, doors)]));
}

function referencesIn(path: string, text: string, tree: Tree, doors: ReadonlyMap<string, Door>): References {
  // Who asks at a door for a value is led to its file; the door itself names no more than that.
  if (doors.has(path)) return { files: [], read: [] };
  const { statements, rest } = split(text);
  const imported = statements.flatMap(({ names, from }) => {
    const file = importPath(path, from);
    return file === undefined ? [] : [file, ...through(doors.get(file), names)];
  });
  const named = namedIn(path, rest, tree);
  return { files: [...imported, ...named.files], read: named.read };
}

interface Statement {
  /** The values that it asks for; undefined for all. Types are erased: the compiler answers for them. */
  readonly names: readonly string[] | undefined;
  readonly from: string;
}

/** As Biome writes them. */
const statementPattern = /^(?:import|export)\s+(type\s+)?([^;"`]*?)\s*from\s+"([^"]+)";/gm;

/** A source's imports, and its text without them. */
function split(text: string): { statements: Statement[]; rest: string } {
  const statements: Statement[] = [];
  const rest = text.replace(statementPattern, (_, type: string | undefined, clause: string, from: string) => {
    const names = namesIn(clause);
    if (type === undefined && names?.length !== 0) statements.push({ names, from });
    return "";
  });
  return { statements, rest };
}

/** Of `{ a, type B, c as d }` a and c. */
function namesIn(clause: string): string[] | undefined {
  return /^\{([\s\S]*)\}$/
    .exec(clause)?.[1]
    ?.split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "" && !name.startsWith("type "))
    .map((name) => name.split(" as ")[0] ?? name);
}

/** An index that holds nothing but `export { … } from`: the files of its values. */
type Door = ReadonlyMap<string, string>;

function doorOf(path: string, text: string): [string, Door][] {
  const { statements, rest } = split(text);
  const held = rest.replaceAll(/\/\*[\s\S]*?\*\//g, "").trim();
  const plain = statements.every(({ names }) => names !== undefined) && !text.includes(" as ");
  if (!path.endsWith("/index.ts") || held !== "" || !plain) return [];
  const values = statements.flatMap(({ names = [], from }) => {
    const file = importPath(path, from);
    return file === undefined ? [] : names.map((name): [string, string] => [name, file]);
  });
  return [[path, new Map(values)]];
}

/** The files behind a door that the values come from: all, where one is not among what it names. */
function through(door: Door | undefined, names: Statement["names"]): string[] {
  if (door === undefined) return [];
  const asked = names?.map((name) => door.get(name)) ?? [undefined];
  return asked.includes(undefined) ? [...door.values()] : asked.filter((file) => file !== undefined);
}

interface Tree {
  readonly paths: readonly string[];
  readonly files: ReadonlySet<string>;
  readonly folders: ReadonlySet<string>;
}

function treeOf(paths: readonly string[]): Tree {
  const folders = new Set(paths.map(dirname));
  for (const folder of folders) folders.add(dirname(folder));
  folders.delete(".");
  return { paths, files: new Set(paths), folders };
}

/** Comments, which are passed over, and literals. */
const literalPattern = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g;

/** What looks like a path and says more than "further up". */
const wordPattern = /(?=[\w\-#*@./]*\w\w)[\w\-#*@]*[./][\w\-#*@./]*/g;

/** A folder of the repository as `join(repository, "rootfs")` names it. */
const topPattern = /\b(?:join|resolve)\([^()]*"([\w-]+)"/g;

/** The files that a text names: seen from its own folder or from the repository's, each, by a folder or by stars. */
function namedIn(path: string, text: string, tree: Tree): References {
  const literals = [...text.matchAll(literalPattern)]
    .map(([literal]) => literal)
    .filter((each) => !each.startsWith("/"));
  const written = literals.join(" ");
  // What a template computes is a star, and may name a path itself.
  const words = [written.replaceAll(/\$\{[^{}]*\}/g, "*"), written].flatMap((each) => each.match(wordPattern) ?? []);
  const names = [...new Set(words)].flatMap((word) => {
    if (word.startsWith("#")) return importPath(path, word) ?? [];
    const plain = word.replace(/^\*?\/+/, "");
    return [normalize(`${dirname(path)}/${plain}`), normalize(plain)];
  });
  const tops = [...text.matchAll(topPattern)].map(([, top = ""]) => top);
  const folders = new Set(
    [...names.map((name) => name.replace(/\/$/, "")), ...tops].filter((name) => tree.folders.has(name)),
  );
  return {
    files: names.flatMap((name) => (tree.files.has(name) ? [name] : matching(name, tree))),
    read: [...folders].flatMap((folder) => tree.paths.filter((file) => file.startsWith(`${folder}/`))),
  };
}

/** The files that a name with stars fits, if it says enough of them. */
function matching(name: string, { paths }: Tree): readonly string[] {
  if (!name.includes("*") || !/\w{3}/.test(name)) return [];
  const pattern = name.replaceAll(/\*\*\/|\*+|[.+?^$()[\]{}|]/g, (part) =>
    part === "**/" ? "(?:.*/)?" : part.startsWith("*") ? "[^/]*" : `\\${part}`,
  );
  const whole = new RegExp(`^${pattern}$`);
  return paths.filter((path) => whole.test(path));
}
