import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { socketPath } from "#lib/rpc/sockets";
import { type Answer, type Machine, startMachine } from "./testing/harness.ts";
import { sampleOf } from "./testing/sample.ts";

let machine: Machine;
let work: string;
let secret: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  secret = `${machine.folder}/secret`;
  mkdirSync(work);
  mkdirSync(secret);
  writeFileSync(`${secret}/key`, "the key");
});

afterEach(() => machine.close());

const grant = (capabilities: string[], more: object = {}) =>
  machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "a test", ...more });

const denied = { code: "PERMISSION_DENIED" };

describe("identity", () => {
  it("is the socket's, whatever agent_id says", async () => {
    await machine.core.call("sec.grant", { agent_id: "system", capabilities: ["hw:read"], reason: "r" });
    const task = machine.agent("task");
    await expect(task.call("hw.info", {}, { agentId: "system" })).rejects.toMatchObject({
      ...denied,
      message: expect.stringContaining("the socket of task"),
    });
    await expect(task.call("hw.info", {}, { agentId: "core" })).rejects.toMatchObject(denied);
    expect(await machine.agent("system").call("hw.info", {}, { agentId: "system" })).toMatchObject({ success: true });
    await expect(task.call("\0", Buffer.from([0, 255]), { agentId: "a\0b", taskId: "\0" })).rejects.toMatchObject(
      denied,
    );
    const { output } = await machine.core.call("sec.audit", { agent_id: "task" });
    expect(output.entries).toMatchObject([
      { state: "refused", tool: "\0" },
      { state: "refused" },
      { state: "refused" },
    ]);
    expect((await machine.core.call("sec.verify_ledger")).output.valid).toBe(true);
  });

  it("of an agent makes no users and no rights of theirs, whatever was granted", async () => {
    await grant(["fs:write:/**"]);
    for (const path of ["/etc/sudoers.d/aios-test", "/etc/../etc/sudoers.d/aios-test"]) {
      await expect(machine.agent("task").call("fs.mkdir", { path })).rejects.toMatchObject(denied);
    }
    await expect(machine.agent("task").call("fs.delete", { path: "/etc/ld.so.preload" })).rejects.toMatchObject(denied);
  });

  it("of an agent grants and revokes nothing, even with the capability", async () => {
    await grant(["sec:grant"]);
    const input = { agent_id: "task", capabilities: ["fs:write:/**"], reason: "mine" };
    await expect(machine.agent("task").call("sec.grant", input)).rejects.toMatchObject(denied);
    await expect(
      machine.agent("task").call("sec.revoke", { agent_id: "system", revoke_all: true }),
    ).rejects.toMatchObject(denied);
  });

  it("of an operator is allowed what the catalogue says", async () => {
    expect(await machine.operator.call("hw.info")).toMatchObject({ success: true });
    const { output } = await machine.operator.call("sec.audit", { agent_id: "alice" });
    expect(output.entries[0]).toMatchObject({ caller_kind: "operator", caller: "alice" });
  });
});

describe("capabilities", () => {
  it("are none by default", async () => {
    const task = machine.agent("task");
    const { tools } = await task.raw.listTools({ namespace: "" });
    for (const { name, inputSchema } of tools) {
      const input = sampleOf(JSON.parse(inputSchema.toString()), [`${work}/x`]);
      await expect(task.call(name, input), name).rejects.toMatchObject(denied);
    }
    expect(existsSync(`${work}/x`)).toBe(false);
  });

  it("for reading do not write, for one file do not open another", async () => {
    await grant([`fs:read:${work}/a`]);
    const task = machine.agent("task");
    await expect(task.call("fs.write", { path: `${work}/a`, content: "" })).rejects.toMatchObject(denied);
    await expect(task.call("fs.read", { path: `${work}/ab` })).rejects.toMatchObject(denied);
    await expect(task.call("fs.read", { path: `${work}/a/b` })).rejects.toMatchObject(denied);
    await expect(task.call("fs.read", { path: `${work}/A` })).rejects.toMatchObject(denied);
    expect(await task.call("fs.read", { path: `${work}//./a/` })).toMatchObject({
      success: false,
      error: expect.stringContaining("does not exist"),
    });
  });

  it("end by themselves, and setting the clock back does not prolong them", async () => {
    machine.close();
    let offset = 0;
    const clock = { ...systemClock, now: () => Date.now() + offset };
    const manual = new ManualClock();
    machine = await startMachine({ clock: { ...clock, monotonic: () => manual.monotonic() } });
    await grant(["hw:read"], { duration_seconds: 60 });
    expect(await machine.agent("task").call("hw.info")).toMatchObject({ success: true });
    offset = -3_600_000;
    await manual.advance(59_000);
    expect(await machine.agent("task").call("hw.info")).toMatchObject({ success: true });
    await manual.advance(1_001);
    await expect(machine.agent("task").call("hw.info")).rejects.toMatchObject(denied);
    await machine.restart();
    await expect(machine.agent("task").call("hw.info")).rejects.toMatchObject(denied);
  });

  it("survive a restart until their end", async () => {
    await grant(["hw:read"]);
    await machine.restart();
    expect(await machine.agent("task").call("hw.info")).toMatchObject({ success: true });
  });

  it.each([
    ["fs:write", "says nothing of what for"],
    ["monitor:read:/x", "has no resource"],
    ["fs:fly:/x", "no tool needs it"],
    ["fs", "expected namespace:action"],
    ["*:*", "expected namespace:action"],
    ["fs:write:/a/../etc", 'cannot hold ".."'],
    [`fs:write:/${"*a".repeat(17)}`, "more than 16 stars"],
  ])("that make no sense are not granted: %s", async (capability, error) => {
    expect(await grant([capability])).toMatchObject({ success: false, error: expect.stringContaining(error) });
  });

  it("are at most 256 for an agent", async () => {
    const many = (from: number) => Array.from({ length: 64 }, (_, at) => `fs:read:/x/${from + at}`);
    for (const from of [0, 64, 128, 192]) expect(await grant(many(from))).toMatchObject({ success: true });
    expect(await grant(["hw:read"])).toMatchObject({ success: false, error: expect.stringContaining("more than 256") });
  });
});

describe("paths", () => {
  it.each([
    ["../secret/key"],
    ["x/../../secret/key"],
    ["./././../secret/key"],
    ["link/key"],
    ["file-link"],
    ["up/secret/key"],
    ["twice"],
  ])("that lead out are refused: %s", async (path) => {
    mkdirSync(`${work}/x`);
    symlinkSync(secret, `${work}/link`);
    symlinkSync("../secret/key", `${work}/file-link`);
    symlinkSync("..", `${work}/up`);
    symlinkSync("link/key", `${work}/twice`);
    await grant([`fs:read:${work}/**`, `fs:write:${work}/**`]);
    const task = machine.agent("task");
    await expect(task.call("fs.read", { path: `${work}/${path}` })).rejects.toMatchObject(denied);
    await expect(task.call("fs.write", { path: `${work}/${path}`, content: "!" })).rejects.toMatchObject(denied);
    expect(readFileSync(`${secret}/key`, "utf8")).toBe("the key");
  });

  it("that do not exist yet are resolved through links too", async () => {
    symlinkSync(secret, `${work}/link`);
    symlinkSync(`${secret}/new`, `${work}/dangling`);
    await grant([`fs:write:${work}/**`]);
    const task = machine.agent("task");
    for (const path of ["link/new/deep/file", "dangling", "dangling/below"]) {
      await expect(task.call("fs.write", { path: `${work}/${path}`, content: "!" })).rejects.toMatchObject(denied);
    }
    expect(readdirSync(secret)).toEqual(["key"]);
  });

  it("through /proc are where they lead", async () => {
    await grant([`fs:read:/proc/**`]);
    const task = machine.agent("task");
    for (const path of [`/proc/self/root${secret}/key`, `/proc/self/cwd/../../../../../../../../${secret}/key`]) {
      await expect(task.call("fs.read", { path })).rejects.toMatchObject(denied);
    }
  });

  it("do not tell who may not follow them where they lead", async () => {
    symlinkSync(`${secret}/key`, `${work}/link`);
    await grant([`fs:read:${work}/**`]);
    const { message } = await machine
      .agent("task")
      .call("fs.read", { path: `${work}/link` })
      .catch((error) => error);
    expect(message).toContain(`${work}/link`);
    expect(message).not.toContain("secret");
  });

  it.each([
    ["relative", "relative", "expected an absolute path"],
    ["with NUL", "/a\0b", "cannot hold NUL"],
    ["of too many characters", `/${"x".repeat(5000)}`, "/path: "],
    ["of too many bytes", `/${"é".repeat(3000)}`, "longer than 4096 bytes"],
    ["up from nowhere", "/nothing-here/../etc/passwd", "does not exist"],
  ])("that are none are refused: %s", async (_, path, reason) => {
    await expect(machine.core.call("fs.read", { path })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(reason),
    });
  });

  it("that loop are refused", async () => {
    symlinkSync("b", `${work}/a`);
    symlinkSync("a", `${work}/b`);
    await expect(machine.core.call("fs.read", { path: `${work}/a` })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  it("to the ledger, keys and sockets are closed to everyone", async () => {
    const { folder, core } = machine;
    mkdirSync(`${folder}/state/console`, { recursive: true });
    symlinkSync(`${folder}/state/ledger/ledger.key`, `${work}/link`);
    for (const path of [
      `${work}/link`,
      `${folder}/state/ledger/ledger.db`,
      `${folder}/state/console/ca.key`,
      `${folder}/run/provision/machine.key`,
      "/mnt/data/state/ledger/ledger.db",
      "/mnt",
    ]) {
      await expect(core.call("fs.read", { path })).rejects.toMatchObject(denied);
      await expect(core.call("fs.write", { path, content: "" })).rejects.toMatchObject(denied);
    }
    await expect(
      core.call("fs.write", { path: socketPath(`${folder}/run`, "tools", "orchestrator"), content: "" }),
    ).rejects.toMatchObject(denied);
    await expect(core.call("fs.write", { path: `${folder}/run`, content: "" })).rejects.toMatchObject(denied);
  });

  it("to what is no file fail without blocking", async () => {
    for (const path of ["/dev/zero", "/dev/tty", work]) {
      expect(await machine.core.call("fs.read", { path })).toMatchObject({
        success: false,
        error: expect.stringContaining("not a regular file"),
      });
    }
    expect(await machine.core.call("fs.write", { path: work, content: "" })).toMatchObject({ success: false });
    expect(await machine.core.call("fs.write", { path: `${secret}/key/below`, content: "" })).toMatchObject({
      success: false,
      error: expect.stringContaining("not a folder"),
    });
  });

  it("swapped between the check and the act win nothing", async () => {
    const inside = `${work}/inside`;
    mkdirSync(inside);
    writeFileSync(`${inside}/key`, "mine");
    await grant([`fs:read:${inside}/**`, `fs:write:${inside}/**`]);
    // A process that owns the folder swaps it for a link, and back, while the tools read and write in it.
    const swapper = spawn(process.execPath, ["-e", swapping, inside, `${work}/aside`, secret], { stdio: "inherit" });
    const task = machine.agent("task");
    const seen = new Map<string, number>();
    const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
    const told = (call: Promise<Answer>) =>
      call.then(
        ({ success, output, error }) =>
          count(output?.content ?? (success ? "written" : (/replaced|symbolic/.exec(error)?.[0] ?? "failed"))),
        ({ code }) => count(code),
      );
    for (let round = 0; round < 150; round += 1) {
      await Promise.all([
        told(task.call("fs.read", { path: `${inside}/key` })),
        told(task.call("fs.write", { path: `${inside}/new-${round}`, content: "planted" })),
        told(task.call("fs.write", { path: `${inside}/folder-${round}/new`, content: "planted" })),
      ]);
    }
    expect(swapper.exitCode).toBeNull();
    swapper.kill();
    await once(swapper, "exit");
    expect(seen.get("the key")).toBeUndefined();
    expect(readdirSync(secret)).toEqual(["key"]);
    expect(readFileSync(`${secret}/key`, "utf8")).toBe("the key");
    // The race was on: calls succeeded, were refused at the gate, and lost between check and act.
    expect(Object.fromEntries(seen)).toMatchObject({
      mine: expect.any(Number),
      written: expect.any(Number),
      PERMISSION_DENIED: expect.any(Number),
      replaced: expect.any(Number),
    });
  });
});

/** Swaps argv[1] for a link to argv[3] and back for ever, with pauses of up to a millisecond. */
const swapping = `
  const { renameSync, symlinkSync, rmSync } = require("node:fs");
  const [, inside, aside, secret] = process.argv;
  // While nothing is there a write may make the folder anew, as it should.
  const put = (act) => {
    for (;;) try { return act(); } catch { rmSync(inside, { recursive: true, force: true }); }
  };
  const pause = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Math.random() * 2);
  for (;;) {
    renameSync(inside, aside); put(() => symlinkSync(secret, inside)); pause();
    rmSync(inside); put(() => renameSync(aside, inside)); pause();
  }`;
