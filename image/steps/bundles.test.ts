import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { cacheOf, scriptOf } from "#lib/load-code";
import { daemons, layout, nodeArguments, programs } from "#manifest";
import { makeCodeCache } from "../code-cache.ts";
import { bundleDaemon, cachedPrograms, codePath, parts, plainPrograms } from "./bundles.ts";

const repository = resolve(import.meta.dirname, "../..");

test("every daemon and program of the manifest has a bundle, and nothing else has", () => {
  const names = [...cachedPrograms, ...plainPrograms].map(({ name }) => name);
  expect(names.sort()).toEqual([...daemons.map(({ name }) => name), ...programs].sort());
});

test("init is where the kernel looks, and starts as a program", () => {
  const init = cachedPrograms.find(({ name }) => name === "init");
  expect(`/${init?.path}`).toBe(layout.init);
  expect(init?.shebang).toMatch(new RegExp(`^#!${layout.node} `));
});

describe("a daemon in the image", () => {
  let tree: string;
  let program: string;
  beforeAll(async () => {
    tree = mkdtempSync(join(tmpdir(), "aios-bundles-"));
    program = await bundleDaemon("gateway", repository, tree);
  });
  afterAll(() => rmSync(tree, { recursive: true }));
  const code = (name: string) => join(tree, codePath(name));
  const text = (name: string) => readFileSync(code(name), "utf8");

  it("loads what it seldom needs from files of their own", () => {
    for (const name of ["gateway-claude", "gateway-openai", "ajv-2020"])
      expect(text("gateway")).toContain(`require("./${name}.cjs")`);
    expect(text("gateway")).not.toContain("x-stainless-");
    expect(text("gateway")).not.toContain("can't resolve reference");
    const load = createRequire(program);
    expect(load(code("gateway-claude"))).toMatchObject({
      BaseAnthropic: expect.any(Function),
      Messages: expect.any(Function),
    });
    expect(load(code("gateway-openai"))).toMatchObject({ OpenAI: expect.any(Function) });
    expect(load(code("ajv"))).toMatchObject({ Ajv: expect.any(Function) });
    // What is left of the SDKs' 150 MB is little.
    expect(statSync(code("gateway-claude")).size + statSync(code("gateway-openai")).size).toBeLessThan(700_000);
  });

  it("has each part that any code asks for", () => {
    const asked = parts
      .flatMap(({ name }) => [...text(name).matchAll(/require\("(\.\/[a-z0-9-]+\.cjs)"\)/g)])
      .map(([, name]) => name);
    for (const name of asked) expect(existsSync(join(tree, "usr/lib/aios/code", `${name}`)), name).toBe(true);
    expect(readdirSync(join(tree, "usr/lib/aios/code")).length).toBe(2 * (parts.length + 1));
  });

  it("starts with a code cache that V8 takes with the flags of the machine, and that is the same when it is made anew", async () => {
    const took = `const { Script } = require("node:vm"), { readFileSync } = require("node:fs");
      const source = readFileSync(process.argv[2], "latin1");
      const wrapped = "(function(exports,require,module,__filename,__dirname){" + source + "\\n})";
      const cachedData = readFileSync(process.argv[2] + ".cache");
      console.log(new Script(wrapped, { filename: process.argv[2], cachedData }).cachedDataRejected);`;
    const file = join(tree, "took.cjs");
    writeFileSync(file, took);
    for (const each of [...daemons.map(nodeArguments), []]) {
      const { stdout } = await promisify(execFile)(process.execPath, [...each, file, code("gateway")]);
      expect(stdout).toBe("false\n");
    }
    const made = readFileSync(cacheOf(code("gateway")));
    expect((await makeCodeCache(code("gateway"))).equals(made)).toBe(true);
  });

  it("starts without a cache, too, and with one of another V8", () => {
    const other = Buffer.from(readFileSync(cacheOf(code("gateway"))));
    other.writeUInt32LE(1, 4);
    expect(scriptOf(code("gateway"), other).cachedDataRejected).toBe(true);
    const load = createRequire(program);
    for (const cache of [other, undefined]) {
      rmSync(cacheOf(code("ajv-2020")));
      if (cache !== undefined) writeFileSync(cacheOf(code("ajv-2020")), cache);
      expect(load(code("ajv-2020"))).toMatchObject({ Ajv2020: expect.any(Function) });
    }
  });
});
