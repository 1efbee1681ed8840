/** What `npm run check` and `npm test` are made of: parts that run one after the other, each with its time. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { beginCarried, endCarried, machineOnly } from "./carried.ts";
import { catalogueTools } from "./catalogue.ts";
import { keepDurations } from "./durations.ts";

export const root = resolve(import.meta.dirname, "..");
const bin = (name: string) => join(root, "node_modules/.bin", name);

interface Outcome {
  readonly passed: number;
  /** What failed, one line each: said again at the end, where a reader of a long log looks first. */
  readonly failed: readonly string[];
}

interface Part {
  readonly name: string;
  readonly run: () => Outcome | Promise<Outcome>;
}

export const checks: readonly Part[] = [
  check("format and lint", bin("biome"), "check", "--error-on-warnings", "."),
  check("types", bin("tsc"), "-p", "."),
  check("tidy", bin("node"), "ci/tidy.ts"),
  check("generated code", bin("node"), "ci/proto.ts", "--check"),
  check("tool reference", bin("node"), "ci/reference.ts", "--check"),
];

/** Every unit test, and whether they left a tool out. */
export const unitTests: readonly Part[] = [
  {
    name: "unit tests",
    run: () => {
      beginCarried();
      return suite("unit");
    },
  },
  { name: "tools that no test carried out", run: carried },
];

/** Those in these files. */
export const someUnitTests = (choose: () => readonly string[]): Part => ({
  name: "unit tests",
  run: () => {
    const files = choose();
    return files.length === 0 ? { passed: 0, failed: [] } : suite("unit", files);
  },
});

export const machineTests: Part = { name: "machine tests", run: () => suite("machine") };

/** Runs the parts; then says their times, what failed, and how much passed. */
export async function runParts(parts: readonly Part[]): Promise<void> {
  const outcomes: (Outcome & { readonly time: string })[] = [];
  for (const { name, run } of parts) {
    console.error(`\n=== ${name}`);
    const start = performance.now();
    const outcome = await run();
    outcomes.push({ ...outcome, time: `${name}: ${took(performance.now() - start)}` });
  }
  console.log(`\n=== times`);
  for (const { time } of outcomes) console.log(time);
  const failed = outcomes.flatMap((outcome) => outcome.failed);
  for (const line of failed) console.log(`failed: ${line}`);
  console.log(`${outcomes.reduce((sum, { passed }) => sum + passed, 0)} passed, ${failed.length} failed`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

function took(ms: number): string {
  const seconds = ms / 1_000;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

function check(name: string, command: string, ...args: string[]): Part {
  return {
    name,
    run: () => {
      const ok = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] }).status === 0;
      return { passed: Number(ok), failed: ok ? [] : [name] };
    },
  };
}

/** Every tool was run by a test: by what the tests' ledgers say, not by what their files name. */
async function carried(): Promise<Outcome> {
  const ran = endCarried();
  const names = (await catalogueTools()).map(({ name }) => name);
  const missing = names.filter((name) => !ran.has(name) && !machineOnly.includes(name));
  console.error(missing.length === 0 ? "none" : missing.join("\n"));
  return { passed: Number(missing.length === 0), failed: missing.map((name) => `no test carried out ${name}`) };
}

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly startTime: number;
    readonly endTime: number;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** Runs one vitest project. A run that ends without a report, or with errors outside tests, counts as a failure. */
function suite(project: string, files: readonly string[] = []): Outcome {
  const folder = mkdtempSync(join(tmpdir(), "aios-test-"));
  const report = join(folder, "report.json");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const args = ["run", "--project", project, ...reporters, ...files];
  const { status } = spawnSync(bin("vitest"), args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  try {
    const { numPassedTests, testResults }: Report = JSON.parse(readFileSync(report, "utf8"));
    keepDurations(testResults.map(({ name, startTime, endTime }) => [relative(root, name), endTime - startTime]));
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
