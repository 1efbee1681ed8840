/** The local habit and CI's first step: format and lint, types, tidy, freshness of generated code, unit tests. */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const steps = [
  ["format and lint", "biome", "check", "--error-on-warnings", "."],
  ["types", "tsc", "-p", "."],
  ["tidy", "node", "ci/tidy.ts"],
  ["generated code", "node", "ci/proto.ts", "--check"],
  ["unit tests", "vitest", "run", "--project", "unit"],
] as const;

for (const [name, command, ...args] of steps) {
  const started = performance.now();
  const { status } = spawnSync(`${root}/node_modules/.bin/${command}`, args, { cwd: root, stdio: "inherit" });
  console.error(
    `${status === 0 ? "ok    " : "FAILED"} ${name}, ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  if (status !== 0) process.exit(1);
}
