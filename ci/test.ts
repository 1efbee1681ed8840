/**
 * `npm test`: the check, then the machine's tests (the image is built, and booted in every lane).
 * Ends with one line, "N passed, N failed".
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
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
  /** What failed, one line each: said again at the end, where a reader of a long log looks first. */
  readonly failed: readonly string[];
}

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
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
const failed = outcomes.flatMap((outcome) => outcome.failed);
for (const line of failed) console.log(`failed: ${line}`);
console.log(`${passed} passed, ${failed.length} failed`);
process.exitCode = failed.length === 0 ? 0 : 1;

function check([name, command, ...args]: readonly [string, string, ...string[]]): Outcome {
  console.error(`\n=== ${name}`);
  const ok = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] }).status === 0;
  return { passed: Number(ok), failed: ok ? [] : [name] };
}

/** Every tool was run by a test: by what the tests' ledgers say, not by what their files name. */
function carried(ran: ReadonlySet<string>): Outcome {
  console.error("\n=== tools that no test carried out");
  const missing = tools.map(({ name }) => name).filter((name) => !ran.has(name) && !machineOnly.includes(name));
  console.error(missing.length === 0 ? "none" : missing.join("\n"));
  return { passed: Number(missing.length === 0), failed: missing.map((name) => `no test carried out ${name}`) };
}

/** Runs one vitest project. A run that ends without a report, or with errors outside tests, counts as a failure. */
function suite(project: string): Outcome {
  console.error(`\n=== ${project} tests`);
  const folder = mkdtempSync(join(tmpdir(), "aios-test-"));
  const report = join(folder, "report.json");
  const args = ["run", "--project", project, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const { status } = spawnSync(bin("vitest"), args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  try {
    const { numPassedTests, testResults }: Report = JSON.parse(readFileSync(report, "utf8"));
    const failed = testResults.flatMap(failures);
    return {
      passed: numPassedTests,
      failed: status !== 0 && failed.length === 0 ? [`${project} tests: errors outside tests`] : failed,
    };
  } catch {
    return { passed: 0, failed: [`${project} tests: ended without a report`] };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A line for each failed test of a file, or one for a file that could not be run. */
function failures({ name, status, message, assertionResults }: Report["testResults"][number]): string[] {
  const file = relative(root, name);
  const failed = assertionResults.filter((test) => test.status === "failed");
  if (status === "failed" && failed.length === 0) return [`${file}: ${firstLine(message)}`];
  return failed.map((test) => `${file}: ${test.fullName}: ${firstLine(test.failureMessages[0] ?? "")}`);
}

function firstLine(text: string): string {
  return stripVTControlCharacters(text).split("\n", 1)[0] ?? "";
}
