/** For tests: the orchestrator's and the agents' programs as bundles, which start in a fifth of the time. */
import { build } from "esbuild";

const entry = (program: string) => new URL(`../../${program}/main.ts`, import.meta.url).pathname;

/** Writes orchestrator.cjs and agents.cjs into `folder`. */
export async function writeBundles(folder: string): Promise<void> {
  await build({
    entryPoints: { orchestrator: entry("orchestrator"), agents: entry("agents") },
    outdir: folder,
    outExtension: { ".js": ".cjs" },
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node26",
    logLevel: "silent",
  });
}
