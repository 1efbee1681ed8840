import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { stopPath } from "#lib/config/effective";
import { commandLine, factsOf } from "../../proc.ts";
import { type Answer, type Machine, startMachine } from "../../testing/harness.ts";
import { openCgroups } from "./cgroups.ts";
import { openSpawned } from "./spawned.ts";

let machine: Machine;

beforeEach(async () => {
  machine = await startMachine();
});

afterEach(() => machine.close());

const call = (tool: string, input: object): Promise<Answer> => machine.core.call(tool, input);
/** A program of more than one step, for these tests only. */
const script = (text: string, more: object = {}) =>
  call("process.spawn", { command: "/usr/bin/dash", args: ["-c", text], ...more });
const alive = (pid: number) => factsOf(pid) !== undefined && factsOf(pid)?.state !== "zombie";

describe("process.spawn", () => {
  it("is held with what agents started while the machine is stopped, and goes on afterwards; people's goes on", async () => {
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["process:spawn:/**"], reason: "r" });
    const ticking = { command: "/usr/bin/dash", args: ["-c", "while :; do echo x; /bin/sleep 0.05; done"] };
    const agents = (await machine.agent("task").call("process.spawn", ticking)).output.pid;
    const people = (await call("process.spawn", ticking)).output.pid;
    const ticks = async (pid: number) => (await call("process.output", { pid })).output.stdout.length;
    const grows = async (pid: number) => {
      const before = await ticks(pid);
      await expect.poll(() => ticks(pid), { timeout: 15_000 }).toBeGreaterThan(before);
    };
    await grows(agents);
    await machine.hold(true);
    await sleep(300);
    const held = await ticks(agents);
    const late = (await machine.agent("task").call("process.spawn", ticking)).output.pid;
    for (let round = 0; round < 3; round += 1) await grows(people);
    expect(await ticks(agents)).toBe(held);
    expect(await ticks(late)).toBeLessThanOrEqual(2);
    await machine.hold(false);
    await grows(agents);
    await grows(late);
    for (const pid of [agents, people, late]) await call("process.kill", { pid, grace_seconds: 0 });
  });

  it("learns at its start that the machine is stopped, and holds what agents start from then on", async () => {
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["process:spawn:/**"], reason: "r" });
    const ticking = { command: "/usr/bin/dash", args: ["-c", "while :; do echo x; /bin/sleep 0.05; done"] };
    const ticks = async (pid: number) => (await call("process.output", { pid })).output.stdout.length;
    await machine.restart(() => writeFileSync(stopPath(`${machine.folder}/run`), "{}"));
    const { pid } = (await machine.agent("task").call("process.spawn", ticking)).output;
    await sleep(500);
    expect(await ticks(pid)).toBeLessThanOrEqual(2);
    await machine.hold(false);
    await expect.poll(() => ticks(pid), { timeout: 15_000 }).toBeGreaterThan(2);
    await call("process.kill", { pid, grace_seconds: 0 });
  });

  it("starts a program with arguments as they are, and tells how it ended and what it wrote", async () => {
    const odd = "$(id); `x` * \"'";
    const { output } = await call("process.spawn", { command: "/usr/bin/printf", args: ["%s|", odd, "b"] });
    expect(output.limits_applied).toEqual([]);
    const ended = await call("process.wait", { pid: output.pid });
    expect(ended.output).toEqual({
      running: false,
      exit_code: 0,
      exit_signal: null,
      stdout: `${odd}|b|`,
      stderr: "",
      truncated: false,
    });
    await machine.restart();
    expect((await call("process.output", { pid: output.pid })).output.stdout).toBe(`${odd}|b|`);
    expect((await call("process.info", { pid: output.pid })).output).toMatchObject({
      running: false,
      spawned: true,
      cmdline: ["/usr/bin/printf", "%s|", odd, "b"],
    });
  });

  it("gives a fixed environment, a folder and standard error", async () => {
    const { output } = await script("env; pwd; echo bad >&2; exit 7", { env: { APP_X: "1" }, cwd: "/tmp" });
    const ended = (await call("process.wait", { pid: output.pid })).output;
    expect(ended).toMatchObject({ exit_code: 7, stderr: "bad\n" });
    expect(ended.stdout).toContain("APP_X=1\n");
    expect(ended.stdout).toContain("LC_ALL=C\n");
    expect(ended.stdout).toMatch(/\/tmp\n$/);
    expect(ended.stdout).not.toContain("VITEST");
  });

  it("keeps the beginning and the end of a flood, and memory stays bounded", async () => {
    const { output } = await script("echo first; head -c 20000000 /dev/zero | tr '\\0' x; echo last");
    const ended = (await call("process.wait", { pid: output.pid })).output;
    expect(ended).toMatchObject({ exit_code: 0, truncated: true });
    expect(ended.stdout.startsWith("first\nxxx")).toBe(true);
    expect(ended.stdout.length).toBeLessThan(300_000);
    expect(ended.stdout).toContain("bytes are left out here");
    expect(ended.stdout.endsWith("xlast\n")).toBe(true);
  });

  it("gives characters whole where a read or a limit cut them", async () => {
    const all = "x".repeat(64 * 1024 - 1) + "磁盘满了\u{1F600}".repeat(10);
    const write = "process.stdout.write('x'.repeat(64*1024-1)+'磁盘满了\\u{1F600}'.repeat(+process.argv[1]))";
    const run = (times: number) =>
      call("process.spawn", { command: process.execPath, args: ["-e", write, `${times}`] });
    const short = (await call("process.wait", { pid: (await run(10)).output.pid })).output;
    expect(short).toMatchObject({ exit_code: 0, stdout: all });
    const { pid } = (await run(100_000)).output;
    const long = (await call("process.wait", { pid })).output;
    expect(long).toMatchObject({ exit_code: 0, truncated: true });
    expect(long.stdout).not.toContain("\ufffd");
    await machine.restart();
    expect((await call("process.output", { pid })).output.stdout).not.toContain("\ufffd");
  });

  it("has an output that programs open by name", async () => {
    const { output } = await script("echo one > /dev/stdout; echo two > /dev/stderr; printf three >> /dev/stdout");
    const ended = (await call("process.wait", { pid: output.pid })).output;
    expect(ended).toMatchObject({ exit_code: 0, stdout: "one\nthree", stderr: "two\n" });
  });

  it("is ended by its time, and what it started ends with it", async () => {
    const { output } = await script("sleep 60 & echo $!; wait", { timeout_seconds: 1 });
    const ended = (await call("process.wait", { pid: output.pid })).output;
    expect(ended).toMatchObject({ running: false, exit_signal: "SIGKILL" });
    while (alive(Number(ended.stdout))) await sleep(10);
  });

  it("is taken back by ending what still runs, also after a restart", async () => {
    const started = await script("sleep 60");
    expect(alive(started.output.pid)).toBe(true);
    await machine.restart();
    expect((await call("process.info", { pid: started.output.pid })).output).toMatchObject({
      running: true,
      spawned: true,
      details: { uid: 0, cgroup: expect.any(String) },
    });
    const { executionId } = started;
    expect(await machine.core.raw.rollback({ executionId, reason: "" })).toEqual({ success: true, error: "" });
    expect((await call("process.wait", { pid: started.output.pid })).output).toMatchObject({ running: false });
    expect(alive(started.output.pid)).toBe(false);
  });

  it("runs an agent's program as nobody but the agent, and lets no variable change what it is", async () => {
    const agent = machine.agent("task");
    await machine.core.call("sec.grant", {
      agent_id: "task",
      capabilities: ["process:spawn:/usr/bin/id", "process:output"],
      reason: "r",
    });
    const { output } = await agent.call("process.spawn", { command: "/usr/bin/id", args: ["-u"] });
    const ended = await agent.call("process.wait", { pid: output.pid });
    expect(Number(ended.output.stdout)).toBeGreaterThan(0);
    const preload = { command: "/usr/bin/id", env: { LD_PRELOAD: "/tmp/x.so" } };
    expect(await agent.call("process.spawn", preload)).toMatchObject({ error: expect.stringContaining("LD_PRELOAD") });
    expect(await call("process.spawn", preload)).toMatchObject({ success: false });
    expect(await agent.call("process.spawn", { command: "/usr/bin/id", user: "root" })).toMatchObject({
      success: false,
    });
    await expect(agent.call("process.spawn", { command: "/usr/bin/env" })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    const theirs = await call("process.spawn", { command: "/usr/bin/id" });
    await call("process.wait", { pid: theirs.output.pid });
    expect(await agent.call("process.output", { pid: theirs.output.pid })).toMatchObject({ success: false });
  });

  it("says what cannot be started", async () => {
    expect(await call("process.spawn", { command: "/usr/bin/none" })).toMatchObject({
      success: false,
      error: expect.stringContaining("ENOENT"),
    });
    await expect(call("process.spawn", { command: "id" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await call("process.spawn", { command: "/usr/bin/id", user: "nosuchuser" })).toMatchObject({
      error: expect.stringContaining("no such user"),
    });
  });
});

describe("process.list and process.info", () => {
  it("tell of this machine's processes", async () => {
    const { output } = await call("process.list", {});
    expect(output.total).toBe(output.processes.length);
    expect(output.processes.find(({ pid }: { pid: number }) => pid === process.pid)).toMatchObject({
      parent: process.ppid,
      uid: process.getuid?.(),
    });
    expect((await call("process.list", { limit: 1 })).output.processes).toHaveLength(1);
    const own = (await call("process.info", { pid: process.pid })).output;
    expect(own).toMatchObject({ running: true, spawned: false, details: { pid: process.pid } });
    expect(own.cmdline[0]).toBe(commandLine(process.pid)[0]);
    expect(Math.abs(own.started_at - (Date.now() - process.uptime() * 1000))).toBeLessThan(60_000);
    expect(await call("process.info", { pid: 4_000_000 })).toMatchObject({ success: false });
  });
});

describe("process.signal and process.kill", () => {
  it("reach a process, politely first", async () => {
    const { output } = await script("trap 'echo usr; exit 3' USR1; while :; do sleep 0.05; done");
    await sleep(200);
    expect((await call("process.signal", { pid: output.pid, signal: "USR1" })).output).toEqual({ sent: true });
    expect((await call("process.wait", { pid: output.pid })).output).toMatchObject({ exit_code: 3, stdout: "usr\n" });
    const child = spawn("sleep", ["60"]);
    await once(child, "spawn");
    expect((await call("process.kill", { pid: child.pid ?? 0 })).output).toEqual({ ended: true, signal: "TERM" });
    const stubborn = await script("trap '' TERM; while :; do sleep 0.05; done");
    await sleep(200);
    expect((await call("process.kill", { pid: stubborn.output.pid, grace_seconds: 1 })).output).toEqual({
      ended: true,
      signal: "KILL",
    });
  });

  it("leave alone what the machine stands on", async () => {
    for (const pid of [1, process.pid, process.ppid]) {
      expect(await call("process.signal", { pid, signal: "CONT" })).toMatchObject({ success: false });
      expect(await call("process.kill", { pid })).toMatchObject({ success: false });
    }
    const daemon = spawn("sleep", ["60"], { argv0: "/usr/lib/aios/memory.js" });
    await once(daemon, "spawn");
    expect(await call("process.kill", { pid: daemon.pid ?? 0 })).toMatchObject({
      error: expect.stringContaining("a daemon of the machine"),
    });
    daemon.kill();
  });

  it("wait no longer than they are told", async () => {
    const child = spawn("sleep", ["60"]);
    await once(child, "spawn");
    const waited = await call("process.wait", { pid: child.pid ?? 0, timeout_seconds: 0 });
    expect(waited.output).toMatchObject({ running: true, stdout: "" });
    child.kill();
  });
});

describe("process.cgroup", () => {
  it("makes a group, moves a process in, and all is taken back", async () => {
    const child = spawn("sleep", ["60"]);
    await once(child, "spawn");
    const group_name = `test-${process.pid}`;
    const made = await call("process.cgroup", { group_name, pid: child.pid ?? 0, memory_max_mb: 100, cpu_weight: 50 });
    expect(made.output).toMatchObject({ exists: true, pids: [child.pid] });
    // Which limits are kept depends on the host's kernel; what it says it keeps stands there.
    for (const name of made.output.limits_applied) expect(made.output.limits).toHaveProperty(name);
    const { cgroup } = (await call("process.info", { pid: child.pid ?? 0 })).output.details;
    expect(cgroup).toBe(`/aios-tools/${group_name}`);
    const { executionId } = made;
    expect(await machine.core.raw.rollback({ executionId, reason: "" })).toEqual({ success: true, error: "" });
    expect((await call("process.info", { pid: child.pid ?? 0 })).output.details.cgroup).not.toBe(cgroup);
    const gone = await call("process.cgroup", { group_name, remove: true });
    expect(gone.output).toMatchObject({ exists: false, pids: [] });
    child.kill();
  });
});

describe("an agent", () => {
  const grant = (...capabilities: string[]) => call("sec.grant", { agent_id: "task", capabilities, reason: "r" });

  it("ends what it started, and of others what it was granted by name", async () => {
    const own = ["process:spawn:/usr/bin/sleep", "process:kill", "process:signal", "process:cgroup"];
    await grant(...own);
    const task = machine.agent("task");
    const others = spawn("/usr/bin/sleep", ["60"]);
    await once(others, "spawn");
    const pid = others.pid ?? 0;
    for (const [tool, input] of [
      ["process.kill", { pid, grace_seconds: 0 }],
      ["process.signal", { pid, signal: "TERM" }],
      ["process.cgroup", { pid, group_name: "x" }],
    ] as const) {
      const { error } = await task.call(tool, input);
      expect(error, tool).toContain("needs a grant of process:end:/usr/bin/");
    }
    const { output } = await task.call("process.spawn", { command: "/usr/bin/sleep", args: ["60"] });
    expect(await task.call("process.kill", { pid: output.pid })).toMatchObject({ success: true });
    expect(alive(pid)).toBe(true);
    await grant("process:end:/usr/bin/*");
    expect(await task.call("process.kill", { pid })).toMatchObject({ success: true });
    expect(alive(pid)).toBe(false);
    const daemon = await task.call("process.kill", { pid: process.pid });
    expect(daemon.error).toContain("the tools themselves run in it");
  });
});

describe("the time of a program", () => {
  it("is over when it was told, though another run of the daemon started it", async () => {
    const left = spawn("/usr/bin/sleep", ["60"], { detached: true });
    await once(left, "spawn");
    const pid = left.pid ?? 0;
    const startTicks = factsOf(pid)?.startTicks ?? 0;
    const kept = { executionId: "e", pid, startTicks, owner: "agent task", state: "running", group: "" };
    const twin = { list: () => [{ ...kept, startedAt: systemClock.now() - 9_000, timeoutMs: 10_000 }] };
    openSpawned(twin as never, openCgroups(), systemClock);
    expect(alive(pid)).toBe(true);
    await expect.poll(() => alive(pid), { timeout: 15_000 }).toBe(false);
  });
});
