import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { BuildOptions, Plugin } from "esbuild";
import { daemons } from "#manifest";
import { bundle, replaceModule, requireBanner } from "../esbuild.ts";
import type { Step } from "../step.ts";

interface Bundle {
  readonly name: string;
  /** Path in the repository. */
  readonly entry: string;
  /** Path on the machine. */
  readonly path: string;
  readonly format: "esm" | "cjs";
  /** The first line of a program that the kernel or a shell starts. */
  readonly shebang?: string;
  /** Code of others alone: its names are shortened too. */
  readonly foreign?: true;
}

const esm = (name: string, entry: string): Bundle => ({
  name,
  entry: `daemons/${entry}`,
  path: `usr/lib/aios/${name}.mjs`,
  format: "esm",
});

/** One bundle per daemon, and the programs beside them. */
export const bundles: readonly Bundle[] = [
  ...daemons.map(({ name }) => esm(name, `${name}/main.ts`)),
  esm("agents", "agents/main.ts"),
  esm("runtime-worker", "runtime/worker/worker.ts"),
  esm("runtime-probe", "runtime/machine/gpu-probe.ts"),
  esm("ctl", "ctl/main.ts"),
  {
    name: "init",
    entry: "daemons/init/main.ts",
    path: "usr/sbin/aios-init",
    // The kernel starts it by this name, without `.mjs`, so it is CommonJS.
    format: "cjs",
    // BusyBox's halt sends SIGUSR1, which opens Node's inspector on a port unless it is told not to.
    shebang: "#!/usr/bin/node --disable-sigusr1",
  },
];

/**
 * What a daemon loads with `import()` when it is first needed, in a file of its own, so that no start reads it: the module
 * of the repository and the bundle beside the daemon's.
 */
export const parts: readonly Bundle[] = [
  ...["claude", "openai"].map((name) => ({
    ...esm(`gateway-${name}`, `gateway/providers/sdk/${name}.ts`),
    foreign: true as const,
  })),
  esm("answers", "gateway/providers/sdk/answers.ts"),
  esm("agents-duties", "agents/duties/start.ts"),
  esm("orchestrator-sessions", "orchestrator/sessions/start.ts"),
];

/** Resolved on the machine, from /usr/lib/aios/node_modules. */
const external = ["node-llama-cpp", "chromadb-js-bindings-linux-x64-gnu", "@chroma-core/default-embed"];

/** One file per daemon (`tree/`, as in the root), and their sizes in bytes (`sizes.json`). */
export function bundlesStep(): Step {
  return {
    name: "bundles",
    modules: [import.meta.filename, ...[...bundles, ...parts].map(({ entry }) => entry)],
    // What esbuild reads beside the code; the lock file stands for the packages that it takes in.
    files: ["package.json", "package-lock.json", "tsconfig.json"],
    params: {},
    needs: [],
    run: async ({ repository, out, log }) => {
      const tree = join(out, "tree");
      const sizes: Record<string, number> = {};
      const all = [...bundles, ...parts];
      for (const [index, each] of all.entries()) {
        sizes[each.name] = await bundle(optionsOf(each, repository, tree));
        log.line(`${index + 1} of ${all.length} bundles: ${each.path}: ${sizes[each.name]} bytes`);
      }
      writeFileSync(join(out, "sizes.json"), JSON.stringify(sizes));
    },
  };
}

/** Makes the bundle of one daemon in `tree`, as the image has it, and returns its path. For benchmarks and tests without an image. */
export async function bundleDaemon(name: string, repository: string, tree: string): Promise<string> {
  const found = bundles.find((each) => each.name === name);
  if (found === undefined) throw new Error(`bundle ${name}: the image has no such bundle`);
  await bundle(optionsOf(found, repository, tree));
  return join(tree, found.path);
}

/** How one is bundled: from `repository` into `tree`, the root. */
export function optionsOf(
  { entry, path, format, shebang, foreign }: Bundle,
  repository: string,
  tree: string,
): BuildOptions {
  return {
    absWorkingDir: repository,
    entryPoints: [entry],
    outfile: join(tree, path),
    format,
    external,
    // Top-level comment lines: the shebang must be the first bytes of the file.
    banner: {
      js: [shebang, format === "esm" ? requireBanner : undefined].filter((line) => line !== undefined).join("\n"),
    },
    ...(foreign && { minifyIdentifiers: true }),
    plugins: [sqliteAddon, withoutProtoLoader, partsApart],
  };
}

const partsApart: Plugin = {
  name: "parts-apart",
  setup(build) {
    build.onResolve({ filter: /^\.\/([a-z]+\/)*[a-z]+\.ts$/ }, ({ path, kind, resolveDir }) => {
      if (kind !== "dynamic-import") return undefined;
      const file = join(resolveDir, path);
      const part = parts.find(({ entry }) => file.endsWith(`/${entry}`));
      return part && { path: `./${basename(part.path)}`, external: true };
    });
  },
};

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
      path: "./node_modules/better-sqlite3/prebuilds/linux-x64.node",
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
