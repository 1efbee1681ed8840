import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { unifiedDiff } from "./diff.ts";

it.each([
  ["a line in the middle", "a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nd\nX\nf\ng\nh\n"],
  ["lines added at the end", "a\n", "a\nb\nc\n"],
  ["lines removed at the start", "a\nb\nc\nd\ne\n", "d\ne\n"],
  ["two places", "a\nb\nc\nd\n", "X\nb\nc\nY\n"],
  ["everything removed", "a\nb\n", ""],
  ["a newline at the end", "a\nb", "a\nb\n"],
  ["repeated lines", "a\na\na\n", "a\na\n"],
])("patch makes the one file of the other: %s", (_, before, after) => {
  const folder = mkdtempSync("/tmp/aios-diff-");
  try {
    writeFileSync(`${folder}/f`, before);
    const diff = unifiedDiff(`${folder}/f`, before, after);
    execFileSync("git", ["apply", "--unsafe-paths", "--unidiff-zero", "-p0", `--directory=${folder}`, "-"], {
      cwd: folder,
      input: `${diff.replaceAll(`${folder}/`, "")}\n`,
    });
    expect(readFileSync(`${folder}/f`, "utf8")).toBe(after);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("of a new file, of one that goes, and of no change, says so", () => {
  expect(unifiedDiff("/x", undefined, "a\n")).toBe("--- /dev/null\n+++ /x\n@@ -0,0 +1,1 @@\n+a");
  expect(unifiedDiff("/x", "a\n", undefined)).toBe("--- /x\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a");
  expect(unifiedDiff("/x", "a\n", "a\n")).toContain("no change");
});
