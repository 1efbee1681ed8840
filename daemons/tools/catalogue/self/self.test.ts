import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Boot, Unit, UnitState } from "#proto/aios/init";
import { type Answer, type Machine, startMachine, whenAsked } from "../../testing/harness.ts";
import { setValue } from "../config/edit.ts";

let machine: Machine;
let units: Unit[];
let boot: Boot;

beforeEach(async () => {
  units = [Unit.fromPartial({ name: "memory", state: UnitState.UNIT_READY })];
  boot = Boot.fromPartial({ bootId: "b", state: "autonomous", version: "1.2.3", phases: [{ name: "core" }] });
  machine = await startMachine({ init: { listUnits: async () => ({ units }), getBoot: async () => boot } });
});

afterEach(() => machine.close());

const call = (tool: string, input: object = {}): Promise<Answer> => machine.core.call(tool, input);
const back = ({ executionId }: Answer) => machine.core.raw.rollback({ executionId, reason: "" });
const done = { success: true, error: "" };

describe("self", () => {
  it("self.inspect and self.version tell what the machine is made of", async () => {
    const { output } = await call("self.inspect");
    expect(output).toMatchObject({
      version: "1.2.3",
      node: process.version,
      boot: { id: "b", state: "autonomous", phases: [{ name: "core" }] },
      services: ["memory"],
    });
    expect(output.namespaces).toContainEqual({ name: "self", tools: 3 });
    expect((await call("self.version")).output).toMatchObject({ version: "1.2.3" });
  });

  it("self.health names what is not well", async () => {
    const well = (await call("self.health")).output;
    expect(well.issues.filter((issue: string) => !issue.includes("disk"))).toEqual([]);
    expect(well.services).toEqual([{ name: "memory", ready: true }]);
    units.push(Unit.fromPartial({ name: "gateway", state: UnitState.UNIT_CRASH_LOOP, reason: "exit 70" }));
    units.push(Unit.fromPartial({ name: "nginx", state: UnitState.UNIT_STOPPED }));
    boot.faults.push("no watchdog");
    const ill = (await call("self.health")).output;
    expect(ill).toMatchObject({ healthy: false });
    expect(ill.issues).toEqual(expect.arrayContaining(["gateway is not ready: exit 70", "no watchdog"]));
  });
});

describe("alert", () => {
  it("alerts are raised, counted, listed and acknowledged, and stay over a restart", async () => {
    const disk = await call("alert.raise", { severity: "warning", title: "disk", message: "90 %" });
    await call("alert.raise", { severity: "critical", title: "fan" });
    const again = await call("alert.raise", { severity: "critical", title: "disk", message: "96 %" });
    expect(again.output).toEqual({ id: disk.output.id, count: 2 });
    await machine.restart();
    const listed = (await call("alert.list", { severity: "critical" })).output;
    expect(listed).toMatchObject({
      total: 2,
      alerts: [{ title: "fan" }, { title: "disk", count: 2, message: "96 %" }],
    });
    expect(await back(again)).toEqual(done);
    expect((await call("alert.list")).output.alerts).toMatchObject([
      {},
      { title: "disk", severity: "warning", count: 1 },
    ]);
    const seen = await call("alert.acknowledge", { id: disk.output.id, note: "cleaned" });
    expect(seen.output).toEqual({ acknowledged: true });
    expect((await call("alert.list", { state: "acknowledged" })).output.alerts).toMatchObject([
      { title: "disk", acknowledged_by: "orchestrator", note: "cleaned" },
    ]);
    expect((await call("alert.list")).output.total).toBe(1);
    expect(await back(seen)).toEqual(done);
    expect(await back(disk)).toEqual(done);
    expect((await call("alert.list", { state: "all" })).output.alerts).toMatchObject([{ title: "fan" }]);
    expect(await call("alert.acknowledge", { id: disk.output.id })).toMatchObject({ success: false });
  });
});

describe("config", () => {
  let path: string;

  beforeEach(() => {
    path = `${machine.folder}/etc/config.toml`;
    copyFileSync(join(import.meta.dirname, "../../../../rootfs/etc/aios/config.toml"), path);
  });

  it("config.get gives the file's value and the one in effect", async () => {
    expect((await call("config.get", { key: "system.log_level" })).output).toEqual({
      file: path,
      value: "info",
      in_effect: null,
    });
    writeFileSync(`${machine.folder}/run/config.json`, JSON.stringify({ system: { log_level: "debug" } }));
    expect((await call("config.get", { key: "system.log_level" })).output).toMatchObject({ in_effect: "debug" });
    expect((await call("config.get", { key: "system.none" })).output).toMatchObject({ value: null, in_effect: null });
    mkdirSync(`${machine.folder}/etc/agents`);
    writeFileSync(`${machine.folder}/etc/agents/task.toml`, "[agent]\nname = 'task'\n");
    expect((await call("config.get", { file: "agents/task.toml" })).output.value).toEqual({ agent: { name: "task" } });
    await expect(call("config.get", { file: "security/api-keys.toml" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  it("config.set changes one line, keeps the rest, is told by config.history and taken back", async () => {
    const before = readFileSync(path, "utf8");
    const level = await call("config.set", { key: "system.log_level", value: "debug" });
    expect(level.output).toMatchObject({ before: "info", takes_effect: "at the next boot" });
    expect(readFileSync(path, "utf8")).toBe(before.replace('log_level = "info" ', 'log_level = "debug" '));
    const url = await call("config.set", { key: "memory.vector_url", value: "http://10.0.0.1:8000" });
    expect(url.output.before).toBeNull();
    await machine.restart();
    expect((await call("config.history")).output.changes).toMatchObject([
      { key: "memory.vector_url", before: null, after: "http://10.0.0.1:8000", undone: false },
      {
        key: "system.log_level",
        before: "info",
        after: "debug",
        by: "core orchestrator",
        execution_id: level.executionId,
      },
    ]);
    expect(await back(url)).toEqual(done);
    expect(await back(level)).toEqual(done);
    expect(readFileSync(path, "utf8")).toBe(before);
    expect((await call("config.history", { limit: 1 })).output.changes).toMatchObject([{ undone: true }]);
  });

  it("config.set writes nothing that does not fit, and nothing that holds the agents for an agent", async () => {
    const before = readFileSync(path, "utf8");
    for (const input of [
      { key: "system.log_level", value: "loud" },
      { key: "system.nothing", value: 1 },
      { key: "network.management_port", value: 0 },
    ]) {
      expect(await call("config.set", input)).toMatchObject({ success: false });
    }
    await call("sec.grant", { agent_id: "task", capabilities: ["config:write:*"], reason: "r" });
    const agent = machine.agent("task");
    await expect(agent.call("config.set", { key: "system.autonomy_level", value: "full" })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("held by"),
    });
    expect((await call("sec.approvals")).output.waiting).toEqual([]);
    expect(readFileSync(path, "utf8")).toBe(before);
    const { answer } = await whenAsked(machine.operator, () =>
      agent.call("config.set", { key: "system.log_level", value: "warn" }),
    );
    answer.catch(() => {});
    expect(readFileSync(path, "utf8")).toBe(before);
  });

  it("config.validate names what is wrong", async () => {
    expect((await call("config.validate")).output).toEqual({ valid: true, problems: [] });
    const content = readFileSync(path, "utf8").replace('"info"', "5");
    const { output } = await call("config.validate", { content });
    expect(output).toMatchObject({ valid: false, problems: [expect.stringContaining("system.log_level")] });
    expect((await call("config.validate", { file: "agents/x.toml", content: "a = " })).output.valid).toBe(false);
  });

  it("lines are edited as people write them", () => {
    const text = 'top = 1 # one\n\n[a]\n# note\nb = "x # y"   # why\n\n[a.c]\nd = [1,\n 2]\n';
    expect(setValue(text, "a.b", "z")).toBe(text.replace('"x # y"', '"z"'));
    expect(setValue(text, "top", 2)).toBe(text.replace("top = 1", "top = 2"));
    expect(setValue(text, "a.e", true)).toContain("# why\ne = true\n\n[a.c]");
    expect(setValue(text, "n.m", ["q"])).toMatch(/\n\[n\]\nm = \[ ?"q" ?\]\n$/);
    expect(() => setValue(text, "a.c.d", ["1"])).toThrow("beyond this tool");
  });
});
