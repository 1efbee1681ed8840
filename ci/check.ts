/** `npm run check`: what an edit needs. Format, lint, types, house rules, generated code, the tests that it can reach. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "#lib/errors";
import { expectedMs } from "./durations.ts";
import { checks, root, runParts, someUnitTests, unitTests } from "./parts.ts";
import { isUnitTest, reachOf } from "./reach.ts";

const help = `npm run check [-- --all | --since REF]

Checks format, lint, types, house rules and generated code, and runs the unit tests that the change can reach: what is
not committed, or where all is, the last commit. "npm test" runs the machine's tests too.

  --all         every unit test
  --since REF   what changed since this commit

Examples:
  npm run check
  npm run check -- --all
  npm run check -- --since main`;

const values = readOptions();
if (values === undefined) process.exitCode = 2;
else if (values.help) console.log(help);
else await runParts([...checks, ...(values.all ? unitTests : [someUnitTests(() => reached(values.since))])]);

/** What stands behind the command; undefined when that cannot be, which is said. */
function readOptions() {
  try {
    const options = { all: { type: "boolean" }, since: { type: "string" }, help: { type: "boolean" } } as const;
    const { values } = parseArgs({ options });
    if (values.since !== undefined)
      lines("rev-parse", "--verify", "--quiet", "--end-of-options", `${values.since}^{commit}`);
    return values;
  } catch (error) {
    const wrong =
      "status" in Object(error) ? "--since takes a commit, a branch or a tag of this repository" : messageOf(error);
    console.error(`npm run check: ${wrong}\n\n${help}`);
    return undefined;
  }
}

/** The tests that the change can reach; says how many, and when they take long. */
function reached(since: string | undefined): readonly string[] {
  const paths = lines("ls-files", "-co", "--exclude-standard").filter((path) => existsSync(join(root, path)));
  const { files, ref } = since === undefined ? lastChange() : { files: changedSince(since), ref: since };
  const sources = paths
    .filter((path) => path.endsWith(".ts"))
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
  const { tests, because } = reachOf(files, paths, sources);
  const seconds = Math.round(expectedMs(tests) / 1_000);
  const reach = `${tests.length} of ${paths.filter(isUnitTest).length} test files`;
  console.error(`changed since ${ref}: ${files.length} files, which reach ${reach}${because ? `: ${because}` : ""}`);
  if (seconds > 60) console.error(`they take more than a minute (some ${seconds} s), the slowest come last`);
  return tests;
}

/** What is not committed; where all is, the last commit. */
function lastChange(): { files: readonly string[]; ref: string } {
  const files = changedSince("HEAD");
  return files.length > 0 ? { files, ref: "HEAD" } : { files: changedSince("HEAD~1"), ref: "HEAD~1" };
}

/** Both paths of a file that moved, and files that git does not know yet. */
function changedSince(ref: string): readonly string[] {
  return [...lines("diff", "--name-only", "--no-renames", ref, "--"), ...lines("ls-files", "-o", "--exclude-standard")];
}

function lines(...args: string[]): string[] {
  const text = execFileSync("git", ["-c", "core.quotePath=false", ...args], { cwd: root, encoding: "utf8" });
  return text.split("\n").filter((line) => line !== "");
}
