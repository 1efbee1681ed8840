import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { daemons, layout, programs } from "#manifest";
import { bundle } from "../esbuild.ts";
import { bundles, optionsOf, parts } from "./bundles.ts";

test("every daemon and program of the manifest has a bundle, and nothing else has", () => {
  expect(bundles.map(({ name }) => name).sort()).toEqual([...daemons.map(({ name }) => name), ...programs].sort());
});

test("init is where the kernel looks, and starts as a program", () => {
  const init = bundles.find(({ name }) => name === "init");
  expect(`/${init?.path}`).toBe(layout.init);
  expect(init?.shebang).toMatch(new RegExp(`^#!${layout.node} `));
});

test("the gateway loads the SDKs of model providers when it needs them, from files of their own", async () => {
  const tree = mkdtempSync(join(tmpdir(), "aios-bundles-"));
  const built = async (name: string) => {
    const one = [...bundles, ...parts].find((each) => each.name === name);
    if (one === undefined) throw new Error(`no bundle ${name}`);
    const bytes = await bundle(optionsOf(one, resolve(import.meta.dirname, "../.."), tree));
    return { bytes, path: join(tree, one.path) };
  };
  try {
    const gateway = await built("gateway");
    const text = readFileSync(gateway.path, "utf8");
    const own = parts.filter(({ name }) => name.startsWith("gateway-"));
    expect(own).toHaveLength(2);
    for (const { name } of own) expect(text).toContain(`import("./${name}.mjs")`);
    expect(text).not.toContain("x-stainless-");
    expect(text).toContain('import("./answers.mjs")');
    expect(text).not.toContain("can't resolve reference");
    const [claude, openai] = [await built("gateway-claude"), await built("gateway-openai")];
    expect(Object.keys(await import(pathToFileURL(claude.path).href)).sort()).toEqual(["BaseAnthropic", "Messages"]);
    expect(Object.keys(await import(pathToFileURL(openai.path).href))).toEqual(["OpenAI"]);
    // What is left of the image's 150 MB is little.
    expect(claude.bytes + openai.bytes).toBeLessThan(700_000);
  } finally {
    rmSync(tree, { recursive: true });
  }
});
