import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { setSysctls, sysctls } from "./sysctls.ts";

let proc: string;
const make = (name: string) => {
  mkdirSync(dirname(join(proc, "sys", name)), { recursive: true });
  writeFileSync(join(proc, "sys", name), "0\n");
};
const textOf = (name: string) => readFileSync(join(proc, "sys", name), "utf8");

beforeEach(() => {
  proc = mkdtempSync("/tmp/aios-sysctls-");
});
afterEach(() => rmSync(proc, { recursive: true }));

test("every setting is written, and no module comes after the start of a machine without a GPU", () => {
  for (const name of [...Object.keys(sysctls), "kernel/modules_disabled"]) make(name);
  expect(setSysctls(true, proc)).toEqual([]);
  for (const [name, value] of Object.entries(sysctls)) expect(textOf(name), name).toBe(`${value}\n`);
  expect(textOf("kernel/modules_disabled")).toBe("0\n");
  expect(setSysctls(false, proc)).toEqual([]);
  expect(textOf("kernel/modules_disabled")).toBe("1\n");
});

test("what the kernel does not have is passed over, what it refuses is told", () => {
  make("kernel/kptr_restrict");
  expect(setSysctls(false, proc)).toEqual([]);
  expect(textOf("kernel/kptr_restrict")).toBe("1\n");
  mkdirSync(join(proc, "sys/kernel/dmesg_restrict"));
  expect(setSysctls(false, proc)).toEqual([expect.stringMatching(/^kernel\/dmesg_restrict: EISDIR/)]);
});
