import { existsSync, globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AiosError } from "#lib/errors";
import { type Unit, Unit as UnitMessage, UnitState } from "#proto/aios/init";
import { type Machine, startMachine } from "./testing/harness.ts";

const units: Unit[] = [
  UnitMessage.fromPartial({ name: "memory", state: UnitState.UNIT_READY, pid: 42, startedAt: 1, restarts: 1 }),
  UnitMessage.fromPartial({ name: "gateway", state: UnitState.UNIT_CRASH_LOOP, reason: "exit 70" }),
];

const init = {
  listUnits: async () => ({ units }),
  getUnit: async ({ name }: { name: string }) => {
    const unit = units.find((one) => one.name === name);
    if (unit === undefined) throw new AiosError("NOT_FOUND", `get unit ${name}: there is no such unit`);
    return unit;
  },
};

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine({ init });
  work = `${machine.folder}/work`;
  mkdirSync(work);
});

afterEach(() => machine.close());

describe("every tool", () => {
  it("fs.write makes folders and a file others may read, fs.read gives it back", async () => {
    const path = `${work}/a/b/c.txt`;
    const written = await machine.core.call("fs.write", { path, content: "grün\n" });
    expect(written).toMatchObject({ success: true, output: { bytes_written: 6 }, backupId: written.executionId });
    expect(await machine.core.call("fs.read", { path })).toMatchObject({ output: { content: "grün\n", size: 6 } });
    expect(await machine.core.call("fs.stat", { path })).toMatchObject({
      output: { size: 6, permissions: "0644", is_file: true, is_dir: false, is_symlink: false },
    });
  });

  it("fs.write keeps the mode of a file that stands", async () => {
    writeFileSync(`${work}/s.sh`, "old", { mode: 0o750 });
    await machine.core.call("fs.write", { path: `${work}/s.sh`, content: "new" });
    expect(await machine.core.call("fs.stat", { path: `${work}/s.sh` })).toMatchObject({
      output: { permissions: "0750" },
    });
  });

  it("fs.list tells kinds, sizes and times by name", async () => {
    writeFileSync(`${work}/file`, "123");
    writeFileSync(Buffer.from(`${work}/\xff`, "latin1"), "");
    mkdirSync(`${work}/dir`);
    symlinkSync("nowhere", `${work}/link`);
    const { output } = await machine.core.call("fs.list", { path: work });
    expect(output.entries).toMatchObject([
      { name: "dir", type: "directory" },
      { name: "file", type: "file", size: 3, modified: expect.any(Number) },
      { name: "link", type: "symlink" },
      { name: "\ufffd", type: "file" },
    ]);
  });

  it("fs.stat follows links and says that the path was one", async () => {
    symlinkSync(work, `${machine.folder}/link`);
    expect(await machine.core.call("fs.stat", { path: `${machine.folder}/link` })).toMatchObject({
      output: { is_symlink: true, is_dir: true },
    });
  });

  it("monitor.cpu, memory and disk measure this machine", async () => {
    const cpu = await machine.core.call("monitor.cpu");
    expect(cpu.output.cores).toBeGreaterThan(0);
    expect(cpu.output.load_avg).toHaveLength(3);
    const { output: memory } = await machine.core.call("monitor.memory");
    expect(memory.total_mb).toBe(
      Math.round(Number(/MemTotal:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]) / 1024),
    );
    expect(memory.used_mb + memory.available_mb).toBeCloseTo(memory.total_mb, -1);
    const { output: disk } = await machine.core.call("monitor.disk", { path: work });
    expect(disk.total_gb).toBeGreaterThan(0);
    expect(disk.used_gb + disk.available_gb).toBeLessThanOrEqual(disk.total_gb + 0.02);
  });

  it("hw.info tells of this machine", async () => {
    const { output } = await machine.core.call("hw.info");
    expect(output).toMatchObject({ cpu: expect.any(String), gpu: expect.any(String), storage: expect.any(Array) });
    expect(output.ram_mb).toBeGreaterThan(100);
  });

  it("service.list and service.status ask PID 1", async () => {
    const { output } = await machine.core.call("service.list");
    expect(output.services).toMatchObject([
      { name: "memory", status: "ready", pid: 42, restarts: 1 },
      { name: "gateway", status: "crash_loop", uptime: 0, reason: "exit 70" },
    ]);
    expect(output.services[1]).not.toHaveProperty("pid");
    expect(await machine.core.call("service.status", { name: "memory" })).toMatchObject({
      output: { status: "ready" },
    });
    expect(await machine.core.call("service.status", { name: "none" })).toMatchObject({
      success: false,
      error: "get unit none: there is no such unit",
    });
  });

  it("sec.grant, sec.capabilities and sec.revoke", async () => {
    const capability = `fs:read:${work}/*`;
    const granted = await machine.core.call("sec.grant", {
      agent_id: "task",
      capabilities: [capability, "monitor:read"],
      reason: "to test",
      task_id: "t1",
    });
    expect(granted.output.granted).toEqual([capability, "monitor:read"]);
    expect(granted.output.expires_at).toBeGreaterThan(Date.now() + 590_000);
    const held = await machine.core.call("sec.capabilities", { agent_id: "task" });
    expect(held.output.capabilities).toMatchObject([{ capability, task_id: "t1", reason: "to test" }, {}]);
    await machine.core.call("sec.grant", {
      agent_id: "task",
      capabilities: ["monitor:read"],
      reason: "r",
      task_id: "t2",
    });
    const revoke = (input: object) => machine.core.call("sec.revoke", { agent_id: "task", ...input });
    expect((await revoke({ task_id: "t1" })).output).toEqual({ revoked_count: 2 });
    expect((await revoke({ capabilities: ["monitor:read"] })).output).toEqual({ revoked_count: 1 });
    expect((await revoke({ revoke_all: true })).output).toEqual({ revoked_count: 0 });
    expect(await revoke({})).toMatchObject({ success: false });
  });

  it("sec.audit finds calls by caller, tool and time", async () => {
    await machine.core.call("fs.write", { path: `${work}/x`, content: "x" }, { taskId: "t9", agentId: "orchestrator" });
    await machine.core.call("fs.read", { path: `${work}/none` });
    await expect(machine.agent("task").call("fs.read", { path: `${work}/x` })).rejects.toThrow();
    const all = await machine.core.call("sec.audit", {});
    expect(all.output.total).toBe(4);
    expect(all.output.entries).toMatchObject([
      { tool: "sec.audit", state: "open" },
      { tool: "fs.read", state: "refused", caller: "task", caller_kind: "agent" },
      { tool: "fs.read", state: "failed", error: expect.stringContaining("does not exist") },
      {
        tool: "fs.write",
        state: "done",
        caller: "orchestrator",
        on_behalf_of: "orchestrator",
        task_id: "t9",
        reason: "a test",
        input: JSON.stringify({ path: `${work}/x`, content: "x" }),
        output: '{"bytes_written":1}',
      },
    ]);
    expect((await machine.core.call("sec.audit", { agent_id: "task", limit: 1 })).output).toMatchObject({ total: 1 });
    expect((await machine.core.call("sec.audit", { tool_name: "fs.write" })).output).toMatchObject({ total: 1 });
    const written = all.output.entries[3];
    const of = await machine.core.call("sec.audit", { execution_id: written.execution_id });
    expect(of.output).toEqual({ entries: [written], total: 1 });
    expect(written.hash).toMatch(/^[0-9a-f]{64}$/);
    expect((await machine.core.call("sec.audit", { since: Date.now() + 1000 })).output).toEqual({
      entries: [],
      total: 0,
    });
  });

  it("sec.verify_ledger follows the chain", async () => {
    await machine.core.call("monitor.memory");
    const { output } = await machine.core.call("sec.verify_ledger");
    const head = expect.stringMatching(/^[0-9a-f]{64}$/);
    expect(output).toEqual({ valid: true, entries: 3, remembered: 0, head, problems: [], acknowledged: [] });
  });

  it("is called by a test", async () => {
    const tests = globSync(`${import.meta.dirname}/**/*.test.ts`);
    const source = tests.map((path) => readFileSync(path, "utf8")).join("\n");
    const { tools } = await machine.core.raw.listTools({ namespace: "" });
    expect(tools.map(({ name }) => name).filter((name) => !source.includes(`"${name}"`))).toEqual([]);
  });
});

describe("the registry", () => {
  it("lists a namespace, with schemas that are JSON Schema", async () => {
    const { tools } = await machine.agent("task").raw.listTools({ namespace: "fs" });
    expect(tools.map(({ name }) => name).slice(0, 4)).toEqual(["fs.read", "fs.write", "fs.list", "fs.stat"]);
    expect(new Set(tools.map(({ namespace }) => namespace))).toEqual(new Set(["fs"]));
    expect(tools[1]).toMatchObject({
      requiredCapabilities: ["fs:write:{path}"],
      reversible: true,
      riskLevel: "medium",
    });
    expect(JSON.parse(tools[1]?.inputSchema.toString() ?? "")).toMatchObject({
      type: "object",
      required: ["path", "content"],
    });
    expect((await machine.core.raw.listTools({ namespace: "nothing" })).tools).toEqual([]);
  });

  it("knows a tool by name, and says NOT_FOUND of others", async () => {
    expect(await machine.core.raw.getTool({ name: "fs.read" })).toMatchObject({ namespace: "fs", reversible: false });
    await expect(machine.core.raw.getTool({ name: "fs.nothing" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(machine.core.call("fs.nothing")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("takes no tool that is none", async () => {
    const { raw } = machine.core;
    const refused = { accepted: false, error: expect.stringContaining("its name is not namespace.verb") };
    expect(await raw.register({ tool: undefined, handlerAddress: "" })).toEqual(refused);
    await expect(raw.deregister({ toolName: "" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("rollback", () => {
  it("removes what was new, with its folders, also after a restart, and once", async () => {
    const { executionId } = await machine.core.call("fs.write", { path: `${work}/a/b/c`, content: "x" });
    await machine.restart();
    expect(await machine.core.raw.rollback({ executionId, reason: "r" })).toEqual({ success: true, error: "" });
    expect(existsSync(`${work}/a`)).toBe(false);
    await expect(machine.core.raw.rollback({ executionId, reason: "" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("already"),
    });
  });

  it("brings the old content and mode back, the last change first", async () => {
    const path = `${work}/f`;
    writeFileSync(path, "zero", { mode: 0o640 });
    const one = await machine.core.call("fs.write", { path, content: "one" });
    const two = await machine.core.call("fs.write", { path, content: "two" });
    const back = (executionId: string) => machine.core.raw.rollback({ executionId, reason: "" });
    expect(await back(one.executionId)).toMatchObject({
      success: false,
      error: expect.stringContaining("changed again since"),
    });
    expect(await back(two.executionId)).toMatchObject({ success: true });
    expect(readFileSync(path, "utf8")).toBe("one");
    expect(await back(one.executionId)).toMatchObject({ success: true });
    expect(readFileSync(path, "utf8")).toBe("zero");
    expect((await machine.core.call("fs.stat", { path })).output.permissions).toBe("0640");
    expect((await machine.core.call("sec.verify_ledger")).output.valid).toBe(true);
  });

  it("carries out one of two that come at once", async () => {
    const { executionId } = await machine.core.call("fs.write", { path: `${work}/f`, content: "x" });
    const both = await Promise.allSettled([1, 2].map(() => machine.core.raw.rollback({ executionId, reason: "" })));
    const done = both.filter((one) => one.status === "fulfilled" && one.value.success);
    expect(done).toHaveLength(1);
  });

  it("takes grants and revocations back", async () => {
    const grant = await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["hw:read"], reason: "r" });
    const revoke = await machine.core.call("sec.revoke", { agent_id: "task", revoke_all: true });
    await expect(machine.agent("task").call("hw.info")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await machine.core.raw.rollback({ executionId: revoke.executionId, reason: "" });
    expect(await machine.agent("task").call("hw.info")).toMatchObject({ success: true });
    await machine.core.raw.rollback({ executionId: grant.executionId, reason: "" });
    await expect(machine.agent("task").call("hw.info")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await machine.restart();
    await expect(machine.agent("task").call("hw.info")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  it("lets an agent take back only what it did itself and still may", async () => {
    const path = `${work}/f`;
    const grant = { agent_id: "task", capabilities: [`fs:write:${path}`], reason: "r" };
    await machine.core.call("sec.grant", grant);
    await machine.core.call("sec.grant", { ...grant, agent_id: "system" });
    const { executionId } = await machine.agent("task").call("fs.write", { path, content: "x" });
    const request = { executionId, reason: "" };
    await expect(machine.agent("system").raw.rollback(request)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await machine.core.call("sec.revoke", { agent_id: "task", revoke_all: true });
    await expect(machine.agent("task").raw.rollback(request)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await machine.core.call("sec.grant", grant);
    expect(await machine.agent("task").raw.rollback(request)).toMatchObject({ success: true });
  });

  it("says why there is nothing to take back", async () => {
    const { raw, call } = machine.core;
    const { executionId } = await call("monitor.memory");
    await expect(raw.rollback({ executionId, reason: "" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("changes nothing"),
    });
    await expect(raw.rollback({ executionId: "x", reason: "" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const none = "01900000-0000-7000-8000-000000000000";
    await expect(raw.rollback({ executionId: none, reason: "" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
