/** The house rules that ci/tidy.ts enforces, as functions from a file to what is wrong with it. */
import { importPath } from "#lib/import-path";
import type { Module, Source } from "./modules.ts";

export interface Finding {
  readonly path: string;
  readonly line: number;
  /** What is wrong and what to write instead. */
  readonly problem: string;
}

/** What a part of the house may import of ours: parts by name. Any npm package and node: module is free. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  "proto/gen": ["proto/gen"],
  manifest: [],
  reach: ["manifest"],
  lib: ["lib", "proto/gen"],
  kernel: ["kernel", "lib"],
  daemon: ["lib", "kernel", "proto/gen", "manifest", "reach"],
  image: ["image", "manifest", "reach", "lib", "proto/gen"],
  qemu: ["qemu", "image", "manifest", "reach", "lib", "proto/gen"],
  ci: ["ci", "daemon", "manifest", "reach", "lib", "proto/gen"],
};

/** The part of the house a file is in: "lib", "kernel", "image", or a daemon as "daemon:tools". */
function partOf(path: string): string | undefined {
  if (path === "daemons/manifest.ts") return "manifest";
  if (path === "daemons/reach.ts") return "reach";
  const [top, second] = path.split("/");
  if (top === "proto") return "proto/gen";
  if (top === "daemons") return second === "lib" || second === "kernel" ? second : `daemon:${second}`;
  return top === "image" || top === "qemu" || top === "ci" ? top : undefined;
}

const isTest = (path: string) => path.endsWith(".test.ts");

/** What is neither a test nor there for tests alone. */
export const isProduction = (path: string) => !isTest(path) && !path.includes("/testing/");

export function importFindings({ path, imports }: Module): Finding[] {
  const part = partOf(path);
  if (part === undefined) return [];
  const allowed = mayImport[part.startsWith("daemon:") ? "daemon" : part] ?? [];
  return imports.flatMap(({ specifier, line }) => {
    if (specifier === undefined) {
      const problem = "import() of a computed name cannot be checked: write the name as a string";
      return part.startsWith("daemon:") ? [{ path, line, problem }] : [];
    }
    const imported = importPath(path, specifier);
    const to = imported === undefined ? undefined : partOf(imported);
    if (to === undefined || to === part || allowed.includes(to.split(":")[0] ?? to)) return [];
    const next =
      part.startsWith("daemon:") && to.startsWith("daemon:")
        ? "call it over its socket"
        : "move what both need to daemons/lib";
    return [{ path, line, problem: `${part} may not import ${to} (${specifier}): ${next}` }];
  });
}

/** Entry scripts: the only files that read the outside world. */
const entry =
  /^(daemons\/[^/]+\/(main|worker\/worker)\.ts|(image|qemu|ci)\/([^/]+\/)?(build|up|run|test|check|proto|setup|reproducible)\.ts)$/;

interface Forbidden {
  readonly pattern: RegExp;
  readonly where: (path: string) => boolean;
  readonly problem: string;
}

const inDaemons = (path: string) => path.startsWith("daemons/") && !isTest(path);

const forbidden: readonly Forbidden[] = [
  {
    pattern: /\bprocess\.env\b/g,
    where: (path) => !entry.test(path) && !isTest(path) && !path.startsWith("qemu/tests/"),
    problem: "process.env outside an entry file: read it in main.ts and pass it in",
  },
  {
    pattern: /\bDate\.now\(|\bnew Date\(\)/g,
    where: (path) => inDaemons(path) && !/^daemons\/lib\/(clock|rpc\/client|rpc\/server|log)\.ts$/.test(path),
    problem: "the wall clock read directly: take a Clock (#lib/clock) and pass systemClock from main.ts",
  },
  {
    pattern:
      /(?<![.\w])(?:set(?:Timeout|Interval)\((?![^\n]*, [\d_]+\))|AbortSignal\.timeout\((?![\d_]+\))|setTimeout as\b)/g,
    where: (path) => inDaemons(path) && path !== "daemons/lib/clock.ts" && !path.includes("/testing/"),
    problem:
      "a timer of Node's, for which over 24.8 days or NaN are at once: callAfter, callEvery or timeoutSignal of #lib/clock",
  },
  {
    // Hexadecimal digits and times have no characters to be cut.
    pattern:
      /(?<!toISOString\(\)|"hex"\)|digest|digits|\bid|Id)(?:\.(?:slice|substring|substr)\(0, (?:\d{2,}|\w*[lL]ength(?:Max)?)\b|\.slice\(-\w*(?:Length|[bB]ytes)Max\))/g,
    where: inDaemons,
    problem: "a text cut between the halves of a character: beginning, ending or cut of #lib/text",
  },
  {
    pattern: /\bshell:\s*true|\bexecSync\(|\bexec\(["'`]/g,
    where: inDaemons,
    problem: "a string given to a shell: use execFile or spawn with an argv",
  },
  {
    pattern: /\b(?:describe|it|test)\.(?:only|skip|todo)\(/g,
    where: () => true,
    problem: "a test that does not run: mend it or remove it",
  },
];

export function forbiddenFindings({ path, text }: Source): Finding[] {
  return forbidden
    .filter(({ where }) => where(path))
    .flatMap(({ pattern, problem }) =>
      [...text.matchAll(pattern)]
        .filter((match) => !insideComment(text, match.index))
        .map((match) => ({ path, line: lineAt(text, match.index), problem })),
    );
}

/** Lines that a file, and a function with those in it, may have. A number may go down, never up. */
const fileLinesMax = { production: 380, test: 400 };
const functionLinesMax = 100;

export function lengthFindings({ path, text, functions }: Module): Finding[] {
  const lines = text.split("\n").length;
  const linesMax = isTest(path) ? fileLinesMax.test : fileLinesMax.production;
  const long = isTest(path) ? [] : functions.filter((each) => each.lines > functionLinesMax);
  return [
    ...(lines > linesMax
      ? [{ path, line: linesMax, problem: `${lines} lines, at most ${linesMax}: split it by what it is about` }]
      : []),
    ...long.map(({ line, lines }) => ({
      path,
      line,
      problem: `a function of ${lines} lines, at most ${functionLinesMax}: name its parts`,
    })),
  ];
}

function insideComment(text: string, index: number): boolean {
  const line = text.slice(text.lastIndexOf("\n", index) + 1, index);
  return /^\s*(\/\/|\*|\/\*)/.test(line) || /\/\/ /.test(line);
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}
