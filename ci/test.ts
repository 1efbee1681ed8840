/**
 * `npm test`: the check, then the machine's tests (the image is built, and booted in every lane).
 * Ends with one line, "N passed, N failed".
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { beginCarried, endCarried, machineOnly } from "./carried.ts";
import { catalogueTools } from "./catalogue.ts";

const tools = await catalogueTools();
const root = resolve(import.meta.dirname, "..");
const bin = (name: string) => join(root, "node_modules/.bin", name);

if (process.argv.includes("--help")) {
  console.log(`npm test [-- --unit]

Runs the check and every test, booting the machine in all lanes. Builds what is stale first.

  --unit   only the check and the unit tests

Examples:
  npm test
  npm test -- --unit`);
  process.exit(0);
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

const checks: readonly (readonly [string, string, ...string[]])[] = [
  ["format and lint", bin("biome"), "check", "--error-on-warnings", "."],
  ["types", bin("tsc"), "-p", "."],
  ["tidy", bin("node"), "ci/tidy.ts"],
  ["generated code", bin("node"), "ci/proto.ts", "--check"],
  ["tool reference", bin("node"), "ci/reference.ts", "--check"],
];

beginCarried();
const outcomes = [
  ...checks.map(check),
  suite("unit"),
  carried(endCarried()),
  ...(process.argv.includes("--unit") ? [] : [suite("machine")]),
];
const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
const failed = outcomes.reduce((sum, outcome) => sum + outcome.failed, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function check([name, command, ...args]: readonly [string, string, ...string[]]): Outcome {
  console.error(`\n=== ${name}`);
  const ok = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] }).status === 0;
  return { passed: Number(ok), failed: Number(!ok) };
}

/** Every tool was run by a test: by what the tests' ledgers say, not by what their files name. */
function carried(ran: ReadonlySet<string>): Outcome {
  console.error("\n=== tools that no test carried out");
  const missing = tools.map(({ name }) => name).filter((name) => !ran.has(name) && !machineOnly.includes(name));
  console.error(missing.length === 0 ? "none" : missing.join("\n"));
  return { passed: Number(missing.length === 0), failed: Number(missing.length > 0) };
}

/** Runs one vitest project. A run that ends without a report, or with errors outside tests, counts as a failure. */
function suite(project: string): Outcome {
  console.error(`\n=== ${project} tests`);
  const folder = mkdtempSync(join(tmpdir(), "aios-test-"));
  const report = join(folder, "report.json");
  const args = ["run", "--project", project, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const { status } = spawnSync(bin("vitest"), args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8"));
    const failed = Number(numFailedTests);
    return { passed: Number(numPassedTests), failed: status !== 0 && failed === 0 ? 1 : failed };
  } catch {
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
