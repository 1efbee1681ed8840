import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { socketPath } from "#lib/rpc/sockets";
import { ToolDefinition } from "#proto/aios/tools";
import { type Machine, startMachine } from "../testing/harness.ts";

let machine: Machine;
let made: string;
let socket: string;
let handler: ChildProcess | undefined;

beforeEach(async () => {
  machine = await startMachine();
  made = `${machine.folder}/made`;
  socket = `${machine.folder}/greet.sock`;
  mkdirSync(made);
  await startHandler();
});

afterEach(async () => {
  await stopHandler();
  machine.close();
});

async function startHandler(): Promise<void> {
  const descriptors = resolve(import.meta.dirname, "../../../proto/gen/descriptors.json");
  const words = [`${import.meta.dirname}/example.py`, descriptors, socket, made];
  // Debian's own: its packages are what the example stands on.
  handler = spawn("/usr/bin/python3", words, { stdio: ["ignore", "pipe", "inherit"] });
  if (handler.stdout !== null) await once(handler.stdout, "data");
}

async function stopHandler(): Promise<void> {
  if (handler?.exitCode === null && handler.signalCode === null) {
    handler.kill("SIGKILL");
    await once(handler, "exit");
  }
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const definition = (more: Partial<ToolDefinition> = {}): ToolDefinition =>
  ToolDefinition.fromPartial({
    ...{ name: "greet.hello", version: "2.1.0", description: "Greets somebody.", riskLevel: "medium" },
    ...{ requiredCapabilities: ["greet:say:{name}"], reversible: true, timeoutMs: 1_000 },
    inputSchema: json({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: { name: { type: "string", maxLength: 20 } },
      required: ["name"],
      additionalProperties: false,
    }),
    outputSchema: json({ type: "object", properties: { greeting: { type: "string" } }, required: ["greeting"] }),
    ...more,
  });

const register = (more: Partial<ToolDefinition> = {}, handlerAddress = `unix:${socket}`) =>
  machine.operator.raw.register({ tool: definition(more), handlerAddress });

describe("a custom tool", () => {
  it("is run like any other: listed, gated, recorded, taken back", async () => {
    expect(await register()).toEqual({ accepted: true, error: "" });
    const listed = await machine.core.raw.listTools({ namespace: "greet" });
    expect(listed.tools).toMatchObject([
      { name: "greet.hello", version: "2.1.0", reversible: true, riskLevel: "medium" },
    ]);
    const task = machine.agent("task");
    await expect(task.call("greet.hello", { name: "Ada" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["greet:say:A*"], reason: "r" });
    await expect(task.call("greet.hello", { name: 5 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(task.call("greet.hello", { name: "Bob" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const done = await task.call("greet.hello", { name: "Ada" });
    expect(done).toMatchObject({ success: true, output: { greeting: "Hello, Ada, from task" } });
    expect(readdirSync(made)).toEqual([done.executionId]);
    const undone = { executionId: done.executionId, reason: "" };
    expect(await machine.core.raw.rollback(undone)).toEqual({ success: true, error: "" });
    expect(readdirSync(made)).toEqual([]);
    const { output } = await machine.core.call("sec.audit", { tool_name: "greet.hello" });
    expect(output.entries.map(({ state }: { state: string }) => state)).toEqual(["done", "refused", "refused"]);
  });

  it("outlives the daemon, and its runs are taken back after", async () => {
    await register();
    const { executionId } = await machine.core.call("greet.hello", { name: "Ada" });
    await machine.restart();
    expect((await machine.core.call("greet.hello", { name: "Bob" })).output.greeting).toBe(
      "Hello, Bob, from orchestrator",
    );
    expect((await machine.core.raw.rollback({ executionId, reason: "" })).success).toBe(true);
  });

  it("whose handler fails, lies, hangs, ends or is away fails with what is wrong", async () => {
    await register();
    const error = async (name: string) => (await machine.core.call("greet.hello", { name })).error;
    expect(await error("nobody")).toBe("run greet.hello: greet nobody: there is nobody; name somebody");
    expect(await error("liar")).toContain("internal error");
    expect(await error("hang")).toMatch(/not done after 1000 ms|[Dd]eadline/);
    expect(await error("exit")).not.toBe("");
    await stopHandler();
    rmSync(socket, { force: true });
    expect(await error("Ada")).toContain("its handler is not there");
    await startHandler();
    expect(await error("Ada")).toBe("");
  });

  it("has its pattern checked after the grants, and for a moment only", async () => {
    const properties = { name: { type: "string", pattern: "^(a+)+$" } };
    const inputSchema = json({ type: "object", properties, required: ["name"] });
    expect(await register({ inputSchema })).toEqual({ accepted: true, error: "" });
    const name = `${"a".repeat(60)}b`;
    await expect(machine.agent("task").call("greet.hello", { name })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("holds no grant of greet:say"),
    });
    await expect(machine.core.call("greet.hello", { name })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/cannot be checked against the tool's schema: .*timed out/),
    });
  });

  it("whose handler says nothing is not taken", async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket)).listen(`${machine.folder}/silent.sock`);
    await once(silent, "listening");
    expect(await register({}, `unix:${machine.folder}/silent.sock`)).toEqual({
      accepted: false,
      error: expect.stringContaining("did not say within 5 s whether it is ready"),
    });
    silent.close();
    for (const socket of sockets) socket.destroy();
  });

  it.each([0, 1])("that is refused for names of any characters leaves the ledger whole", async (more) => {
    const handlerAddress = `unix:/${"x".repeat(more)}${"😀".repeat(3_000)}`;
    const request = { tool: definition({ name: `greet.${"x".repeat(more)}${"😀".repeat(99)}` }), handlerAddress };
    await expect(machine.agent("task").raw.register(request)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(await machine.operator.raw.register(request)).toMatchObject({ accepted: false });
    const { output } = await machine.core.call("sec.verify_ledger", { full: true });
    expect(output.problems).toEqual([]);
  });

  it("is gone when it is deregistered, and stays so", async () => {
    await register();
    const name = { toolName: "greet.hello" };
    expect(await machine.operator.raw.deregister(name)).toMatchObject({ success: true });
    await machine.restart();
    await expect(machine.core.call("greet.hello", { name: "Ada" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(machine.operator.raw.deregister(name)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(machine.operator.raw.deregister({ toolName: "fs.read" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("is not added or removed by an agent, and the ledger says who tried", async () => {
    const task = machine.agent("task").raw;
    const request = { tool: definition(), handlerAddress: `unix:${socket}` };
    await expect(task.register(request)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await register();
    await expect(task.deregister({ toolName: "greet.hello" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const { output } = await machine.core.call("sec.audit", { agent_id: "task" });
    const told = output.entries.map(({ tool, state }: { tool: string; state: string }) => [tool, state]);
    expect(told).toEqual([
      ["deregister", "refused"],
      ["register", "refused"],
    ]);
  });

  it.each([
    ["a namespace of ours", { name: "fs.hello" }, "belongs to the machine"],
    ["a namespace that will be ours", { name: "container.x" }, "belongs to the machine"],
    ["another namespace beside", { namespace: "fs" }, "its namespace says fs"],
    ["no name", { name: "greet" }, "not namespace.verb"],
    ["a name in other letters", { name: "gréet.hello" }, "not namespace.verb"],
    ["capabilities of ours", { requiredCapabilities: ["fs:write:{name}"] }, "of another namespace"],
    ["no capability", { requiredCapabilities: [] }, "needs no capability"],
    ["a capability of a field it lacks", { requiredCapabilities: ["greet:say:{nam}"] }, "may lack nam"],
    ["a risk that is none", { riskLevel: "none" }, "its risk level"],
    ["no time-out", { timeoutMs: 0 }, "its time-out"],
    ["a schema that is no JSON", { inputSchema: Buffer.from("{") }, "input_schema is not JSON"],
    ["a schema of text", { outputSchema: json({ type: "string" }) }, "does not describe an object"],
    [
      "a schema that is none",
      { inputSchema: json({ type: "object", properties: { name: { type: "txt" } }, required: ["name"] }) },
      "its schema is none",
    ],
    [
      "a schema elsewhere",
      { inputSchema: json({ type: "object", $ref: "http://example.org/x" }) },
      "refers to other schemas",
    ],
    [
      "a schema too long",
      { inputSchema: json({ type: "object", description: "x".repeat(70_000) }) },
      "longer than 65536",
    ],
  ])("with %s is refused", async (_, more, reason) => {
    expect(await register(more)).toEqual({ accepted: false, error: expect.stringContaining(reason) });
    expect((await machine.core.raw.listTools({ namespace: "greet" })).tools).toEqual([]);
  });

  it("is refused without a handler at a socket of its own", async () => {
    const refused = async (address: string, reason: string) =>
      expect(await register({}, address)).toEqual({ accepted: false, error: expect.stringContaining(reason) });
    await refused("127.0.0.1:80", "is no Unix socket");
    await refused(`unix:${machine.folder}/none`, "ENOENT");
    writeFileSync(`${machine.folder}/file`, "");
    await refused(`unix:${machine.folder}/file`, "it is not a socket");
    await refused(`unix:${socketPath(`${machine.folder}/run`, "tools", "orchestrator")}`, "one of the machine's own");
    renameSync(socket, `${socket}.moved`);
    await refused(`unix:${socket}`, "ENOENT");
  });
});
