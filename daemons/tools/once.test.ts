import { afterAll, beforeAll, expect, test } from "vitest";
import { type Machine, startMachine } from "./harness.ts";

/** Executions by the caller's own ids, over real sockets. */

let machine: Machine;
beforeAll(async () => {
  machine = await startMachine();
});
afterAll(() => machine.close());

const id = (digit: string) => `0193aaaa-0000-7000-8000-00000000000${digit}`;
const append = (path: string, executionId: string, more = {}) =>
  machine.core.call("fs.append", { path, content: "x" }, { executionId, ...more });
const content = async (path: string) => (await machine.core.call("fs.read", { path })).output.content;

test("the same id runs once, asked one after the other, at once, and after a restart", async () => {
  const path = `${machine.folder}/once`;
  await machine.core.call("fs.write", { path, content: "" });
  const first = await append(path, id("1"));
  expect(first).toMatchObject({ success: true, executionId: id("1") });
  expect(await append(path, id("1"))).toMatchObject({ success: true, output: first.output });
  await Promise.all([append(path, id("2")), append(path, id("2")), append(path, id("2"))]);
  await machine.restart();
  expect(await append(path, id("1"))).toMatchObject({ success: true, output: first.output });
  expect(await content(path)).toBe("xx");
});

test("what was withdrawn does not begin any more; what ran is told", async () => {
  const path = `${machine.folder}/withdrawn`;
  await machine.core.call("fs.write", { path, content: "" });
  await expect(append(path, id("3"), { withdraw: true })).rejects.toMatchObject({ code: "ABORTED" });
  await expect(append(path, id("3"))).rejects.toMatchObject({ code: "ABORTED" });
  await append(path, id("4"));
  expect(await append(path, id("4"), { withdraw: true })).toMatchObject({ success: true });
  expect(await content(path)).toBe("x");
});

test("an id is its caller's own", async () => {
  const path = `${machine.folder}/mine`;
  await machine.core.call("fs.write", { path, content: "" }, { executionId: id("5") });
  await expect(machine.operator.call("fs.read", { path }, { executionId: id("5") })).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
  await expect(machine.core.call("fs.read", { path }, { executionId: id("5") })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  await expect(machine.core.call("fs.read", { path }, { executionId: "mine" })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});
