/** For tests: the orchestrator's and the agents' programs as bundles, which start in a fifth of the time. */
import { build } from "esbuild";

const entry = (program: string) => new URL(`../../${program}/main.ts`, import.meta.url).pathname;

/** Writes orchestrator.mjs and agents.mjs into `folder`. */
export async function writeBundles(folder: string): Promise<void> {
  const banner = 'import{createRequire as $require}from"node:module";const require=$require(import.meta.url);';
  await build({
    entryPoints: { orchestrator: entry("orchestrator"), agents: entry("agents") },
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node26",
    banner: { js: banner },
    logLevel: "silent",
  });
}
