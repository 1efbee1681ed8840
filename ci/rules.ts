/** The house rules that ci/tidy.ts enforces, as functions from a file to what is wrong with it. */
import { importPath } from "#lib/import-path";

export interface Source {
  /** Path from the repository's root, with slashes. */
  readonly path: string;
  readonly text: string;
}

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
export function partOf(path: string): string | undefined {
  if (path === "daemons/manifest.ts") return "manifest";
  if (path === "daemons/reach.ts") return "reach";
  const [top, second] = path.split("/");
  if (top === "proto") return "proto/gen";
  if (top === "daemons") return second === "lib" || second === "kernel" ? second : `daemon:${second}`;
  return top === "image" || top === "qemu" || top === "ci" ? top : undefined;
}

/** Static imports and re-exports, dynamic imports, require, and URLs made for workers. */
const importPattern =
  /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire(?:\.resolve)?\s*\(\s*|\bimport\.meta\.resolve\s*\(\s*)(["'`])([^"'`\n]+)\1/g;

/** A dynamic import whose target cannot be read from the source. */
const computedImport = /\bimport\s*\(\s*(?!["'`/])/g;

export function importFindings({ path, text }: Source): Finding[] {
  const part = partOf(path);
  if (part === undefined) return [];
  const allowed = mayImport[part.startsWith("daemon:") ? "daemon" : part] ?? [];
  const findings = [...text.matchAll(importPattern)].flatMap((match) => {
    const imported = importPath(path, match[2] ?? "");
    const to = imported === undefined ? undefined : partOf(imported);
    if (to === undefined || to === part || allowed.includes(to.split(":")[0] ?? to)) return [];
    const next =
      part.startsWith("daemon:") && to.startsWith("daemon:")
        ? "call it over its socket"
        : "move what both need to daemons/lib";
    return [{ path, line: lineAt(text, match.index), problem: `${part} may not import ${to} (${match[2]}): ${next}` }];
  });
  const computed = [...text.matchAll(computedImport)].map((match) => ({
    path,
    line: lineAt(text, match.index),
    problem: "import() of a computed name cannot be checked: write the name as a string",
  }));
  return [...findings, ...(part.startsWith("daemon:") ? computed : [])];
}

/** Entry scripts: the only files that read the outside world. */
const entry =
  /^(daemons\/[^/]+\/(main|worker\/worker)\.ts|(image|qemu|ci)\/([^/]+\/)?(build|up|run|test|check|proto|setup|reproducible)\.ts)$/;

interface Forbidden {
  readonly pattern: RegExp;
  readonly where: (path: string) => boolean;
  readonly problem: string;
}

const isTest = (path: string) => path.endsWith(".test.ts");
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

/** Lines a file and a top-level function may have. A number may go down, never up. */
const fileLinesMax = 400;
const functionLinesMax = 120;

export function lengthFindings({ path, text }: Source): Finding[] {
  const lines = text.split("\n");
  const findings: Finding[] = [];
  if (lines.length > fileLinesMax) {
    findings.push({
      path,
      line: fileLinesMax,
      problem: `${lines.length} lines, at most ${fileLinesMax}: split it by what it is about`,
    });
  }
  if (isTest(path)) return findings;
  let start: number | undefined;
  lines.forEach((line, index) => {
    if (/^(export )?(default )?(async )?function\b/.test(line)) start = index;
    if (line === "}" && start !== undefined) {
      const length = index - start + 1;
      if (length > functionLinesMax) {
        findings.push({
          path,
          line: start + 1,
          problem: `a function of ${length} lines, at most ${functionLinesMax}: name its parts`,
        });
      }
      start = undefined;
    }
  });
  return findings;
}

function insideComment(text: string, index: number): boolean {
  const line = text.slice(text.lastIndexOf("\n", index) + 1, index);
  return /^\s*(\/\/|\*|\/\*)/.test(line) || /\/\/ /.test(line);
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}
