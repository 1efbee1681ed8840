import { afterAll, beforeAll, expect, test } from "vitest";
import { executionHeader, withdrawHeader } from "#lib/rpc/service";
import { answerOf, type Caller, type Machine, requestOf, startMachine } from "../testing/harness.ts";

/** Executions by the caller's own ids, over real sockets. */

let machine: Machine;
beforeAll(async () => {
  machine = await startMachine();
});
afterAll(() => machine.close());

const id = (digit: string) => `0193aaaa-0000-7000-8000-00000000000${digit}`;
const call = async (caller: Caller, tool: string, input: object, executionId: string, withdraw = "no") => {
  const headers = { [executionHeader]: executionId, [withdrawHeader]: withdraw };
  return answerOf(await caller.raw.execute(requestOf(tool, input), { headers }));
};
const append = (path: string, executionId: string, withdraw = "no") =>
  call(machine.core, "fs.append", { path, content: "x" }, executionId, withdraw);
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
  await expect(append(path, id("3"), "yes")).rejects.toMatchObject({ code: "ABORTED" });
  await expect(append(path, id("3"))).rejects.toMatchObject({ code: "ABORTED" });
  await append(path, id("4"));
  expect(await append(path, id("4"), "yes")).toMatchObject({ success: true });
  expect(await content(path)).toBe("x");
});

test("a rollback runs once by its id, is told again, and is no other call's", async () => {
  const path = `${machine.folder}/back`;
  const write = (content: string) => machine.core.call("fs.write", { path, content });
  await write("a");
  const [first, second] = [await write("b"), await write("c")];
  const back = async (executionId: string, own: string) =>
    machine.core.raw.rollback({ executionId, reason: "a test" }, { headers: { [executionHeader]: own } });
  const both = `${first.executionId},${second.executionId}`;
  expect(await Promise.all([back(both, id("7")), back(both, id("7"))])).toEqual(
    Array(2).fill({ success: true, error: "" }),
  );
  expect(await content(path)).toBe("a");
  const third = await write("d");
  expect(await back(third.executionId, id("8"))).toEqual({ success: true, error: "" });
  await machine.restart();
  expect(await back(third.executionId, id("8"))).toEqual({ success: true, error: "" });
  await expect(back(third.executionId, id("9"))).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  for (const [of, own] of [
    [second.executionId, id("8")],
    [third.executionId, third.executionId],
  ] as const)
    await expect(back(of, own)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("an id is its caller's own", async () => {
  const path = `${machine.folder}/mine`;
  await call(machine.core, "fs.write", { path, content: "" }, id("5"));
  await expect(call(machine.operator, "fs.read", { path }, id("5"))).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
  await machine.core.call("sec.grant", { agent_id: "task", capabilities: [`fs:read:${path}`], reason: "r" });
  await call(machine.agent("task"), "fs.read", { path }, id("6"));
  await expect(call(machine.agent("system"), "fs.read", { path }, id("6"))).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
  expect(await call(machine.core, "fs.read", { path }, id("6"))).toMatchObject({ success: true });
  await expect(call(machine.core, "fs.read", { path }, id("5"))).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  await expect(call(machine.core, "fs.read", { path }, "mine")).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});
