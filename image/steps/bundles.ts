import { writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { BuildOptions, Metafile, Plugin } from "esbuild";
import { cacheOf } from "#lib/load-code";
import { daemons } from "#manifest";
import { makeCodeCache } from "../code-cache.ts";
import { bundle, bytesOf, replaceModule, requireBanner } from "../esbuild.ts";
import type { Step } from "../step.ts";

/** Code of the image: one file, read as a whole. */
interface Code {
  readonly name: string;
  /** What is bundled: a path in the repository. */
  readonly entry: string;
  /** Code of others alone: its names are shortened too. */
  readonly foreign?: true;
}

/** A program that is started with its code cache. */
interface Program extends Code {
  /** Path on the machine. */
  readonly path: string;
  /** The first line of a program that the kernel starts. */
  readonly shebang?: string;
}

const programHead = "daemons/lib/start-program.ts";
const codeFolder = "usr/lib/aios/code";

/** Where code is on the machine. */
export const codePath = (name: string) => `${codeFolder}/${name}.cjs`;

const program = (name: string, entry: string): Program => ({
  name,
  entry: `daemons/${entry}`,
  path: `usr/lib/aios/${name}.cjs`,
});

/** Programs of which a start costs: the daemons, and what they start. */
export const cachedPrograms: readonly Program[] = [
  ...daemons.map(({ name }) => program(name, `${name}/main.ts`)),
  program("agents", "agents/main.ts"),
  program("runtime-worker", "runtime/worker/worker.ts"),
  {
    ...program("init", "init/main.ts"),
    path: "usr/sbin/aios-init",
    // BusyBox's halt sends SIGUSR1, which opens Node's inspector on a port unless it is told not to.
    shebang: "#!/usr/bin/node --disable-sigusr1",
  },
];

/** Programs that are started seldom, as they are. */
export const plainPrograms: readonly Program[] = [
  { name: "runtime-probe", entry: "daemons/runtime/machine/gpu-probe.ts", path: "usr/lib/aios/runtime-probe.mjs" },
  { name: "ctl", entry: "daemons/ctl/main.ts", path: "usr/lib/aios/ctl.mjs" },
];

/** What programs load with `import()` when it is first needed, in files of their own, so that no start reads it. */
export const parts: readonly Code[] = [
  { name: "init-machine", entry: "daemons/init/machine.ts" },
  { name: "gateway-claude", entry: "daemons/gateway/providers/sdk/claude.ts", foreign: true },
  { name: "gateway-openai", entry: "daemons/gateway/providers/sdk/openai.ts", foreign: true },
  { name: "agents-duties", entry: "daemons/agents/duties/start.ts" },
  { name: "orchestrator-sessions", entry: "daemons/orchestrator/sessions/start.ts" },
  { name: "certify", entry: "daemons/lib/identity/certify.ts" },
  { name: "ajv", entry: "node_modules/ajv/dist/ajv.js" },
  { name: "ajv-2020", entry: "node_modules/ajv/dist/2020.js" },
];

const isOurs = (path: string) => !path.startsWith("node_modules/");

/** Resolved on the machine, from /usr/lib/aios/node_modules. */
const external = ["node-llama-cpp", "chromadb-js-bindings-linux-x64-gnu", "@chroma-core/default-embed"];

/** The programs and their code (`tree/`, as in the root), and the sizes of these in bytes (`sizes.json`). */
export function bundlesStep(): Step {
  return {
    name: "bundles",
    modules: [
      ...[import.meta.filename, "image/code-cache-maker.ts", programHead],
      ...[...cachedPrograms, ...plainPrograms, ...parts].map(({ entry }) => entry).filter(isOurs),
    ],
    // What esbuild reads beside the code; the lock file stands for the packages that it takes in, and for Node.
    files: ["package.json", "package-lock.json", "tsconfig.json"],
    params: {},
    needs: [],
    run: async ({ repository, out, log }) => {
      const tree = join(out, "tree");
      const sizes: Record<string, number> = {};
      const codes = [...cachedPrograms, ...parts];
      const all = codes.length + plainPrograms.length;
      const told = (name: string, bytes: number) => {
        sizes[name] = bytes;
        log.line(`${Object.keys(sizes).length} of ${all} bundles: ${name}: ${bytes} bytes`);
      };
      await Promise.all(codes.map(async (code) => told(code.name, await writeCode(code, repository, tree))));
      for (const each of cachedPrograms) await writeProgram(each, repository, tree);
      for (const each of plainPrograms) told(each.name, bytesOf(await bundle(plainOptions(each, repository, tree))));
      writeFileSync(join(out, "sizes.json"), JSON.stringify(Object.fromEntries(Object.entries(sizes).sort())));
    },
  };
}

/** Makes one daemon in `tree`, as the image has it, and returns its program's path. For benchmarks and tests without an image. */
export async function bundleDaemon(name: string, repository: string, tree: string): Promise<string> {
  const found = cachedPrograms.find((each) => each.name === name);
  if (found === undefined) throw new Error(`bundle ${name}: the image has no such program`);
  await Promise.all([found, ...parts].map((code) => writeCode(code, repository, tree)));
  return writeProgram(found, repository, tree);
}

/** Writes code with its cache into `tree`, and returns its size in bytes. */
async function writeCode(code: Code, repository: string, tree: string): Promise<number> {
  const path = join(tree, codePath(code.name));
  // A first time to learn what it loads later.
  const { inputs } = await bundleCode(code, [], repository, path);
  const made = await bundleCode(code, lateModules(inputs), repository, path);
  writeFileSync(cacheOf(path), await makeCodeCache(path));
  return bytesOf(made);
}

/** Modules that are loaded with `import()`, but for parts, which have files of their own. */
function lateModules(inputs: Metafile["inputs"]): readonly string[] {
  const imports = Object.values(inputs).flatMap((input) => input.imports);
  const late = imports.filter(({ kind, path }) => kind === "dynamic-import" && path in inputs);
  return [...new Set(late.map(({ path }) => path))].filter((path) => !path.startsWith("builtin:"));
}

/** Bundles code: what its entry exports, and `late`, which evaluates what it loads with `import()`: for the code cache. */
function bundleCode(code: Code, late: readonly string[], repository: string, outfile: string): Promise<Metafile> {
  const load = (path: string) => `() => import(${JSON.stringify(`./${path}`)})`;
  const entry = parts.includes(code)
    ? `export * from ${JSON.stringify(`./${code.entry}`)};`
    : `import ${JSON.stringify(`./${code.entry}`)};`;
  const contents = `${entry} export const late = [${late.map(load).join(", ")}];`;
  return bundle({
    ...inImage(codeFolder),
    stdin: { contents, resolveDir: repository, loader: "ts" },
    absWorkingDir: repository,
    outfile,
    format: "cjs",
    // Parts are loaded by `require`, which the program's head gives them.
    supported: { "dynamic-import": false },
    define: { "import.meta.url": "__filename" },
    ...(code.foreign && { minifyIdentifiers: true }),
  });
}

/** Writes a program into `tree`: the loader, then what loads its code. Init says its first line before. Returns its path. */
async function writeProgram({ name, path, shebang }: Program, repository: string, tree: string): Promise<string> {
  const outfile = join(tree, path);
  await bundle({
    ...inImage(dirname(path)),
    absWorkingDir: repository,
    entryPoints: [programHead],
    outfile,
    format: "cjs",
    define: { code: JSON.stringify(relative(dirname(path), codePath(name))) },
    banner: { js: shebang ?? "" },
  });
  return outfile;
}

function plainOptions({ entry, path }: Program, repository: string, tree: string): BuildOptions {
  return {
    ...inImage(dirname(path)),
    absWorkingDir: repository,
    entryPoints: [entry],
    outfile: join(tree, path),
    format: "esm",
    banner: { js: requireBanner },
  };
}

/** A part is resolved to its file, as seen from the folder of who loads it. */
const partsApart = (folder: string): Plugin => ({
  name: "parts-apart",
  setup(builder) {
    builder.onResolve({ filter: /./ }, async ({ path, kind, resolveDir, pluginData }) => {
      if (kind !== "dynamic-import" || pluginData === resolving) return undefined;
      const found = await builder.resolve(path, { kind, resolveDir, pluginData: resolving });
      const part = parts.find(({ entry }) => found.path.endsWith(`/${entry}`));
      return part && { path: `./${relative(folder, codePath(part.name))}`, external: true };
    });
  },
});

const resolving = Symbol("resolving");

/**
 * better-sqlite3's JavaScript goes into the bundle, by the entry that names the addon directly instead of searching for
 * it; only the addon stays outside, found next to the bundle.
 */
const sqliteAddon: Plugin = {
  name: "sqlite-addon",
  setup(build) {
    build.onResolve({ filter: /^better-sqlite3$/ }, ({ resolveDir }) =>
      build.resolve("better-sqlite3/linux-x64", { resolveDir, kind: "import-statement" }),
    );
    build.onResolve({ filter: /prebuilds\/linux-x64\.node$/ }, () => ({
      path: "../node_modules/better-sqlite3/prebuilds/linux-x64.node",
      external: true,
    }));
  },
};

/**
 * @grpc/grpc-js loads its .proto loader for channelz and ORCA only, which no daemon serves. With protobufjs it is a fifth
 * of a bundle, and every process of the machine would read it.
 */
const withoutProtoLoader = replaceModule(
  /@grpc\/proto-loader\/build\/src\/index\.js$/,
  'exports.loadSync = () => { throw new Error("channelz and ORCA are not part of this bundle"); };',
);

/** What all bundles of the image share, by the folder that they are in. */
const inImage = (folder: string) =>
  ({ external, plugins: [sqliteAddon, withoutProtoLoader, partsApart(folder)] }) satisfies BuildOptions;
