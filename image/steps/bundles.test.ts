import { expect, test } from "vitest";
import { daemons, layout, programs } from "#manifest";
import { bundles } from "./bundles.ts";

test("every daemon and program of the manifest has a bundle, and nothing else has", () => {
  expect(bundles.map(({ name }) => name).sort()).toEqual([...daemons.map(({ name }) => name), ...programs].sort());
});

test("init is where the kernel looks, and starts as a program", () => {
  const init = bundles.find(({ name }) => name === "init");
  expect(`/${init?.path}`).toBe(layout.init);
  expect(init?.shebang).toMatch(new RegExp(`^#!${layout.node} `));
});
