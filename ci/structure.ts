/** The house rules about how files stand to each other, as functions from all files to what is wrong with them. */
import { dirname } from "node:path";
import { importPath } from "#lib/import-path";
import type { Export, Module } from "./modules.ts";
import { type Finding, isProduction } from "./rules.ts";

/** One for each group of files that cannot be told apart by who stands on whom: the shortest circle in it. */
export function circleFindings(modules: readonly Module[]): Finding[] {
  const next = importGraph(modules);
  const found: Finding[] = [];
  const done = new Set<string>();
  for (const { path, imports } of modules) {
    const circle = done.has(path) ? undefined : circleThrough(path, next);
    if (circle === undefined) continue;
    for (const each of circle) done.add(each);
    const { line = 1 } = imports.find(({ specifier }) => targetOf(path, specifier) === circle[1]) ?? {};
    found.push({
      path,
      line,
      problem: `a circle of imports, ${circle.join(" → ")}: move what both sides need to a file that imports neither`,
    });
  }
  return found;
}

/** The shortest way from a file back to itself, with it at both ends. */
function circleThrough(path: string, next: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const cameFrom = new Map<string, string>();
  for (let reached = [path]; reached.length > 0; ) {
    const further: string[] = [];
    for (const from of reached) {
      for (const to of next.get(from) ?? []) {
        if (to === path) {
          const way = [from];
          for (let at = from; at !== path; way.unshift(at)) at = cameFrom.get(at) ?? path;
          return [...way, path];
        }
        if (cameFrom.has(to)) continue;
        cameFrom.set(to, from);
        further.push(to);
      }
    }
    reached = further;
  }
  return undefined;
}

function importGraph(modules: readonly Module[]): ReadonlyMap<string, readonly string[]> {
  return new Map(
    modules.map(({ path, imports }) => [
      path,
      imports.map(({ specifier }) => targetOf(path, specifier)).filter((to) => to !== undefined),
    ]),
  );
}

function targetOf(path: string, specifier: string | undefined): string | undefined {
  return specifier === undefined ? undefined : importPath(path, specifier);
}

/** What a tool reads by the file's name and no file of ours imports. */
const readByTools = /(^|\/)[^/]+\.config\.ts$/;

/** A re-export counts for the file behind it when somebody takes it; a test's import counts. */
export function exportFindings(modules: readonly Module[]): Finding[] {
  const used = usedExports(modules);
  return modules
    .filter(({ path }) => !readByTools.test(path))
    .flatMap(({ path, exports }) =>
      exports
        .filter(({ name }) => name !== "*" && !used(path, name))
        .map(({ name, line, from }) => ({
          path,
          line,
          problem:
            from === undefined
              ? `nobody imports ${name}: take the word export away, and with it what its own file does not use either`
              : `nobody takes ${name} from here: take it out of the list`,
        })),
    );
}

/** Whether somebody imports a name of a file, directly or through files that hand it on. */
function usedExports(modules: readonly Module[]): (path: string, name: string) => boolean {
  const exportsOf = new Map(modules.map(({ path, exports }) => [path, exports]));
  const used = new Set<string>();
  const use = (path: string, name: string) => {
    const key = `${path} ${name}`;
    if (used.has(key)) return;
    used.add(key);
    for (const each of exportsOf.get(path) ?? []) {
      const to = targetOf(path, each.from?.specifier);
      if (to !== undefined && hands(each, name))
        use(to, each.from?.name === "*" && each.name === "*" ? name : (each.from?.name ?? "*"));
    }
  };
  for (const { path, imports } of modules) {
    for (const { specifier, names } of imports) {
      const to = targetOf(path, specifier);
      if (to !== undefined) for (const name of names ?? ["*"]) use(to, name);
    }
  }
  return (path, name) => used.has(`${path} ${name}`) || used.has(`${path} *`);
}

function hands(each: Export, name: string): boolean {
  return each.name === name || each.name === "*" || name === "*";
}

/** What helps tests stays out of the image and of what makes it. */
export function testingFindings(modules: readonly Module[]): Finding[] {
  return modules
    .filter(({ path }) => isProduction(path) && /^(daemons|image)\//.test(path))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ specifier }) => targetOf(path, specifier)?.includes("/testing/"))
        .map(({ specifier, line }) => ({
          path,
          line,
          problem: `production imports ${specifier}: move what it needs out of testing/`,
        })),
    );
}

/** Production files that lie side by side. A number may go down, never up. */
const folderFilesMax = 25;

export function folderFindings(modules: readonly Module[]): Finding[] {
  return Object.entries(Object.groupBy(productionOf(modules), ({ path }) => dirname(path))).flatMap(
    ([folder, files = []]) =>
      files.length <= folderFilesMax
        ? []
        : [
            {
              path: folder,
              line: 1,
              problem: `${files.length} files side by side, at most ${folderFilesMax}: make rooms by what they are about`,
            },
          ],
  );
}

function productionOf(modules: readonly Module[]): Module[] {
  return modules.filter(({ path }) => isProduction(path));
}

/** Who is outside a room imports its index, and who is inside the files themselves. */
export function roomFindings(modules: readonly Module[]): Finding[] {
  const files = productionOf(modules);
  const rooms = roomsOf(files);
  const doors = files.flatMap(({ path, imports }) =>
    imports.flatMap(({ specifier, line, late }) => {
      const to = targetOf(path, specifier);
      const room = to === undefined ? undefined : roomOf(to);
      if (late || room === undefined || !rooms.has(room)) return [];
      const door = `${room}/index.ts`;
      const inside = path.startsWith(`${room}/`);
      if (inside !== (to === door)) return [];
      const problem = inside
        ? `${specifier} is the room's own index: import the file that has it`
        : `${specifier} is inside a room: import it from ${door}`;
      return [{ path, line, problem }];
    }),
  );
  const heads = files
    .filter(({ path, text }) => path === `${roomOf(path)}/index.ts` && sentencesAtHead(text) < 2)
    .map(({ path }) => ({
      path,
      line: 1,
      problem: "an index without its head: say in two sentences what is in the room, and who may come in",
    }));
  return [...doors, ...heads];
}

/** Folders with an index or with several files. */
function roomsOf(files: readonly Module[]): ReadonlySet<string> {
  const inRooms = files.filter(({ path }) => roomOf(path) !== undefined);
  const byRoom = Object.entries(Object.groupBy(inRooms, ({ path }) => roomOf(path) ?? ""));
  return new Set(
    byRoom
      .filter(([room, within = []]) => within.length > 1 || within.some(({ path }) => path === `${room}/index.ts`))
      .map(([room]) => room),
  );
}

/**
 * The folder of a daemon that is a file's room. The library and the kernel have none; the catalogue is one, and its
 * namespaces know each other's files; aiosctl's commands are siblings that one list names.
 */
function roomOf(path: string): string | undefined {
  const folder = dirname(path).replace(/(\/catalogue)\/.*/, "$1");
  const none = /^daemons\/(lib|kernel|ctl\/commands)\b|\/testing\b/.test(folder);
  return !none && /^daemons\/[^/]+\/./.test(folder) ? folder : undefined;
}

/** Sentences of the comment that a file begins with. */
function sentencesAtHead(text: string): number {
  const [, comment = ""] = /^\/\*\*([\s\S]*?)\*\//.exec(text) ?? [];
  return comment.match(/[.?!](?=\s|$)/g)?.length ?? 0;
}
