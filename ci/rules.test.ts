import { describe, expect, it } from "vitest";
import { readModule } from "./modules.ts";
import { forbiddenFindings, importFindings, lengthFindings } from "./rules.ts";

// The words are put together here so that this file does not break the rules it tests.
const environment = ["process", "env"].join(".");
const only = ["it", "only("].join(".");

describe("imports", () => {
  it.each([
    ["daemons/tools/main.ts", 'import { x } from "../memory/store.ts";', "call it over its socket"],
    ["daemons/tools/main.ts", 'const x = await import("../memory/store.ts");', "call it over its socket"],
    ["daemons/tools/main.ts", "const x = await import(`../memory/store.ts`);", "call it over its socket"],
    ["daemons/tools/main.ts", "const x = await import(name);", "cannot be checked"],
    ["daemons/lib/x.ts", 'export * from "#manifest";', "may not import manifest"],
    ["daemons/kernel/x.ts", 'import type { Y } from "#proto/aios/tools";', "may not import proto/gen"],
    ["qemu/x.ts", 'import { y } from "../daemons/init/units/units.ts";', "may not import daemon:init"],
    ["image/x.ts", 'import "../qemu/machine.ts";', "may not import qemu"],
  ])("%s refuses %s", (path, text, problem) => {
    expect(importFindings(readModule({ path, text }))).toMatchObject([
      { line: 1, problem: expect.stringContaining(problem) },
    ]);
  });

  it.each([
    [
      "daemons/tools/main.ts",
      'import { a } from "./execute.ts"; import b from "#lib/log"; import c from "#manifest"; import "node:fs";',
    ],
    ["daemons/lib/x.ts", 'import { a } from "./log.ts"; import b from "#proto/aios/tools";'],
    ["ci/x.test.ts", 'import { a } from "../daemons/init/service.ts";'],
    ["qemu/x.ts", 'import { a } from "../image/build.ts"; import z from "zx";'],
  ])("%s allows its own", (path, text) => {
    expect(importFindings(readModule({ path, text }))).toEqual([]);
  });
});

describe("forbidden words", () => {
  it.each([
    ["daemons/tools/pipeline/execute.ts", `const x = ${environment}["HOME"];`, "main.ts"],
    ["daemons/tools/pipeline/execute.ts", "const now = Date.now();", "Clock"],
    ["daemons/tools/pipeline/execute.ts", "spawn(a, { shell: true });", "argv"],
    ["daemons/tools/pipeline/execute.ts", "refuse(name.slice(0, 64))", "#lib/text"],
    ["daemons/tools/pipeline/execute.ts", "text.substring(0, shownLengthMax)", "#lib/text"],
    ["daemons/tools/pipeline/execute.ts", "said.slice(-wordsLengthMax)", "#lib/text"],
    ["daemons/tools/pipeline/execute.ts", "setTimeout(() => end(5), tool.timeoutMs);", "callAfter"],
    ["daemons/tools/pipeline/execute.ts", "setInterval(() => {", "callEvery"],
    ["daemons/tools/pipeline/execute.ts", "race(AbortSignal.timeout(waitMs))", "timeoutSignal"],
    ["daemons/tools/pipeline/execute.ts", 'import { setTimeout as delay } from "node:timers/promises";', "callAfter"],
    ["daemons/tools/execute.test.ts", `${only}"x", f)`, "mend it"],
  ])("%s refuses %s", (path, text, problem) => {
    expect(forbiddenFindings({ path, text })).toMatchObject([{ problem: expect.stringContaining(problem) }]);
  });

  it("allows them where they belong", () => {
    expect(forbiddenFindings({ path: "daemons/tools/main.ts", text: `run(${environment})` })).toEqual([]);
    expect(forbiddenFindings({ path: "daemons/lib/clock.ts", text: "() => Date.now()" })).toEqual([]);
    const cuts =
      'now.toISOString().slice(0, 10); hash("sha256", x, "hex").slice(0, 24); rows.slice(0, rowsMax); text.slice(0, at)';
    expect(forbiddenFindings({ path: "daemons/tools/x.ts", text: cuts })).toEqual([]);
    const timers = "setTimeout(go, 50); AbortSignal.timeout(5_000); socket.setTimeout(waitMs);";
    expect(forbiddenFindings({ path: "daemons/tools/x.ts", text: timers })).toEqual([]);
    expect(forbiddenFindings({ path: "daemons/tools/x.ts", text: "// Date.now() jumps when time is set" })).toEqual([]);
  });
});

describe("lengths", () => {
  const lines = (count: number, line = "f();") => Array.from({ length: count }, () => line).join("\n");
  const lengthOf = (text: string, path = "daemons/x/y.ts") => lengthFindings(readModule({ path, text }));

  it("names a long file, of tests too", () => {
    expect(lengthOf(lines(380))).toEqual([]);
    expect(lengthOf(lines(381))).toMatchObject([{ problem: expect.stringContaining("381 lines, at most 380") }]);
    expect(lengthOf(lines(401), "daemons/x/y.test.ts")).toHaveLength(1);
  });

  it("names a long function, whatever it is written as", () => {
    const body = lines(99);
    for (const text of [
      `function f() {\n${body}\n}`,
      `export default async function () {\n${body}\n}`,
      `const f = () => {\n${body}\n};`,
      `await runDaemon("x", async () => {\n${body}\n});`,
      `class A {\n  f() {\n${body}\n}\n}`,
      `const a = { f() {\n${body}\n} };`,
      `function open() {\n${lines(33, "const g = () => {\nf();\n};")}\n}`,
    ]) {
      expect(lengthOf(text), text).toMatchObject([{ problem: expect.stringContaining("of 101 lines, at most 100") }]);
      expect(lengthOf(text, "daemons/x/y.test.ts"), text).toEqual([]);
    }
    expect(lengthOf(`function f() {\n${lines(98)}\n}`)).toEqual([]);
  });
});
