/**
 * Of Node's own modules a bundle reads what it uses. For an ESM import of one Node reads all that it exports, and some
 * of that is loaded by being read: `node:http` loads undici for three names that nobody asked for. So bundles take
 * names from `process.getBuiltinModule` (`builtinsByName`): with the typebox that walks, the memory and the
 * orchestrator's first agent start a fifth sooner.
 */
import { readFile } from "node:fs/promises";
import { createRequire, isBuiltin } from "node:module";
import { relative } from "node:path";
import { type BuildOptions, build, type Metafile, type Plugin } from "esbuild";

/** What all bundles share. Names are kept short and stay as they are written: a stack trace must be readable. */
const shared = {
  bundle: true,
  platform: "node",
  target: "node26",
  minifySyntax: true,
  minifyWhitespace: true,
  keepNames: false,
  legalComments: "none",
  sourcemap: false,
  // A single character beyond Latin-1 would make V8 keep and parse the whole file in two bytes per character.
  charset: "ascii",
  logLevel: "silent",
} as const satisfies BuildOptions;

/** CommonJS code in an ESM bundle calls `require`, which ESM does not have. */
export const requireBanner =
  'import{createRequire as $require}from"node:module";const require=$require(import.meta.url);';

/** Bundles one entry. Throws esbuild's own errors, one per line, with file, line and column. */
export async function bundle(options: BuildOptions): Promise<Metafile> {
  const plugins = [builtinsByName, ...(options.plugins ?? [])];
  const result = await build({ ...shared, ...options, plugins, metafile: true }).catch((error: unknown) => {
    throw new Error(sayErrors(error));
  });
  return result.metafile;
}

/** Bytes of all that was written. */
export const bytesOf = ({ outputs }: Metafile): number =>
  Object.values(outputs).reduce((sum, { bytes }) => sum + bytes, 0);

/**
 * Takes from Node's own modules what a bundle uses, and nothing else. For an ESM import Node reads all that a module exports, and
 * some of that is loaded by being read: undici by node:http, a seventh of the start of a daemon that imports it.
 */
const builtinsByName: Plugin = {
  name: "builtins-by-name",
  setup(builder) {
    const load = createRequire(import.meta.url);
    builder.onResolve({ filter: /^[a-z_:/0-9]+$/ }, ({ path, kind }) =>
      kind === "import-statement" && isBuiltin(path) ? { path, namespace: "builtin", sideEffects: false } : undefined,
    );
    builder.onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => {
      const names = Object.keys(load(path) as object).filter(
        (name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default",
      );
      const exported = names.map((name) => `export const ${name} = /* @__PURE__ */ (() => builtin.${name})();`);
      const lines = [
        `const builtin = process.getBuiltinModule(${JSON.stringify(path)});`,
        "export default builtin;",
        ...exported,
      ];
      return { contents: lines.join("\n"), loader: "js" };
    });
  },
};

interface EsbuildError {
  readonly text: string;
  readonly location: { readonly file: string; readonly line: number; readonly column: number } | null;
}

function sayErrors(error: unknown): string {
  const errors = (error as { errors?: readonly EsbuildError[] }).errors ?? [];
  if (errors.length === 0) return String(error);
  return errors
    .map(({ text, location }) =>
      location === null ? text : `${location.file}:${location.line}:${location.column}: ${text}`,
    )
    .join("\n");
}

/**
 * Lets modules that find files next to themselves live in one bundle at `bundleFolder` (a folder of the same package):
 * their `import.meta.url` becomes the address they had, seen from the bundle.
 */
export function keepModuleAddresses(sources: RegExp, bundleFolder: string): Plugin {
  return {
    name: "keep-module-addresses",
    setup(builder) {
      builder.onLoad({ filter: sources }, async ({ path }) => {
        const text = await readFile(path, "utf8");
        const address = `./${relative(bundleFolder, path)}`;
        const contents = text.replaceAll("import.meta.url", `new URL(${JSON.stringify(address)},import.meta.url).href`);
        return { contents, loader: "js" };
      });
    },
  };
}

/** Replaces a module by other source. */
export function replaceModule(source: RegExp, contents: string): Plugin {
  return {
    name: "replace-module",
    setup(builder) {
      builder.onLoad({ filter: source }, () => ({ contents, loader: "js" }));
    },
  };
}
