/** What a file imports, exports and holds of functions, read from its syntax tree. */
import { parseSync, Visitor } from "rolldown/utils";

export interface Source {
  /** Path from the repository's root, with slashes. */
  readonly path: string;
  readonly text: string;
}

interface Import {
  /** As it is written; undefined when it is computed. */
  readonly specifier: string | undefined;
  readonly line: number;
  /** What is taken, by the names of the file that is imported; undefined for all of it. */
  readonly names: readonly string[] | undefined;
  /** Read when it is needed, by `import()` or `require`, or never, as `import("x").Type`. */
  readonly late: boolean;
}

export interface Export {
  /** `default` for a default export, `*` for `export * from`. */
  readonly name: string;
  readonly line: number;
  /** Handed on from another file: its name there, `*` for all of it. */
  readonly from?: { readonly specifier: string; readonly name: string };
}

interface FunctionLines {
  readonly line: number;
  /** From its first line to its last, with the functions in it. */
  readonly lines: number;
}

export interface Module extends Source {
  /** Re-exports are in it too. */
  readonly imports: readonly Import[];
  readonly exports: readonly Export[];
  readonly functions: readonly FunctionLines[];
}

/** Throws what the parser says of a file that is no TypeScript. */
export function readModule({ path, text }: Source): Module {
  const { program, module, errors } = parseSync(path, text);
  const [error] = errors;
  if (error !== undefined) throw new Error(`${path}: ${error.message}: npx tsc -p . shows where`);
  const lineOf = lineCounter(text);
  const late: Import[] = [];
  const functions: FunctionLines[] = [];
  const lookLate = (at: number, from: Expression | undefined) =>
    late.push({ specifier: textOf(from), line: lineOf(at), names: undefined, late: true });
  const measure = ({ start, end }: Span) =>
    functions.push({ line: lineOf(start), lines: lineOf(end - 1) - lineOf(start) + 1 });
  new Visitor({
    FunctionDeclaration: measure,
    FunctionExpression: measure,
    ArrowFunctionExpression: measure,
    ImportExpression: ({ start, source }) => lookLate(start, source),
    TSImportType: ({ start, source }) => lookLate(start, source),
    CallExpression: ({ start, callee, arguments: [first] }) => {
      if (resolving.includes(text.slice(callee.start, callee.end))) lookLate(start, first);
    },
  }).visit(program);
  const handedOn = module.staticExports.flatMap(({ entries }) => entries);
  return {
    path,
    text,
    imports: [
      ...module.staticImports.map(({ start, moduleRequest, entries }) => ({
        specifier: moduleRequest.value,
        line: lineOf(start),
        names: entries.some(({ importName }) => importName.kind === "NamespaceObject")
          ? undefined
          : entries.map(({ importName }) => importName.name ?? "default"),
        late: false,
      })),
      ...handedOn.flatMap(({ start, moduleRequest }) =>
        moduleRequest === null ? [] : [{ specifier: moduleRequest.value, line: lineOf(start), names: [], late: false }],
      ),
      ...late,
    ],
    exports: handedOn.map(({ start, exportName, importName, moduleRequest }) => ({
      name: exportName.kind === "Default" ? "default" : (exportName.name ?? "*"),
      line: lineOf(start),
      ...(moduleRequest !== null && { from: { specifier: moduleRequest.value, name: importName.name ?? "*" } }),
    })),
    functions,
  };
}

/** Calls whose first argument is a file. */
const resolving = ["require", "require.resolve", "import.meta.resolve"];

interface Span {
  readonly start: number;
  readonly end: number;
}

/** The part of a node that is read here. */
interface Expression {
  readonly type: string;
  readonly value?: unknown;
  readonly quasis?: readonly { readonly value: { readonly cooked: string | null } }[];
}

/** The text that is written there: a string, or a template with nothing in it. */
function textOf(node: Expression | undefined): string | undefined {
  if (node?.type === "Literal" && typeof node.value === "string") return node.value;
  return node?.type === "TemplateLiteral" && node.quasis?.length === 1
    ? (node.quasis[0]?.value.cooked ?? undefined)
    : undefined;
}

/** A function from a position to its line, both counted as editors do. */
function lineCounter(text: string): (at: number) => number {
  const starts = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
  return (at) => {
    let low = 0;
    for (let high = starts.length; high - low > 1; ) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= at) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}
