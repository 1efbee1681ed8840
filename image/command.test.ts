import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { command } from "./command.ts";
import { openStepLog } from "./log.ts";

const folder = mkdtempSync(join(tmpdir(), "aios-command-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("what a person's shell does at its start is no part of a build", async () => {
  writeFileSync(join(folder, ".bashrc"), `touch ${folder}/started\nexport PATH=/nowhere\n`);
  expect(await command(["sh", "-c", 'echo "$1 $HOME"', "sh", "a b $HOME"], { env: { HOME: folder } })).toBe(
    `a b $HOME ${folder}\n`,
  );
  expect(existsSync(join(folder, "started"))).toBe(false);
});

test("standard input is empty, and what is said on standard error goes to the log and into the error", async () => {
  const log = openStepLog(folder, "step");
  expect(await command(["cat"], { log })).toBe("");
  const failing = command(["sh", "-c", "echo first >&2; printf 'no such option' >&2; exit 2"], { log });
  await expect(failing).rejects.toThrow("run sh: exit 2: no such option");
  log.close();
  expect(log.tail(2)).toBe("first\nno such option");
});
