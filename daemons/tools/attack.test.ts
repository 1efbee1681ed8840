import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { type Answer, type Machine, requestOf, startMachine } from "./harness.ts";
import { sampleOf } from "./sample.ts";

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
    const { output } = await machine.core.call("sec.audit", { agent_id: "task" });
    expect(output.entries).toMatchObject([{ state: "refused" }, { state: "refused" }]);
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
    await expect(core.call("fs.write", { path: `${folder}/run/tools.sock`, content: "" })).rejects.toMatchObject(
      denied,
    );
    await expect(core.call("fs.write", { path: `${folder}/run`, content: "" })).rejects.toMatchObject(denied);
  });

  it("to what is no file fail without blocking", async () => {
    for (const path of ["/dev/zero", "/dev/tty", work]) {
      expect(await machine.core.call("fs.read", { path })).toMatchObject({
        success: false,
        error: expect.stringContaining("not a regular file"),
      });
      expect(await machine.core.call("fs.write", { path, content: "" })).toMatchObject({ success: false });
    }
    expect(await machine.core.call("fs.write", { path: `${secret}/key/below`, content: "" })).toMatchObject({
      success: false,
      error: expect.stringContaining("not a folder"),
    });
  });

  it("swapped between the check and the act win nothing", { timeout: 60_000 }, async () => {
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
  const pause = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Math.random() * 2);
  for (;;) {
    renameSync(inside, aside); symlinkSync(secret, inside); pause();
    rmSync(inside); renameSync(aside, inside); pause();
  }`;

describe("bad input", () => {
  const refused = (input: unknown, more: object) =>
    expect(machine.core.call("fs.write", input)).rejects.toMatchObject(more);
  const invalid = (reason: string) => ({ code: "INVALID_ARGUMENT", message: expect.stringContaining(reason) });

  it("is refused with the path and what was expected", async () => {
    await refused({ path: 5, content: "" }, invalid("/path: expected string (an absolute path), found 5"));
    await refused({ path: "/x" }, invalid("/content: missing; expected the file's new content"));
    await refused({ path: "/x", content: "", mode: 1 }, invalid("/mode: no such field; known are path, content"));
    await refused([], invalid("/: expected object, found []"));
    await refused(null, invalid("/: expected object, found null"));
  });

  it.each([
    ["not JSON", Buffer.from("{"), "it is not JSON"],
    ["nothing", Buffer.alloc(0), "/path: missing"],
    ["invalid UTF-8", Buffer.from('{"path":"/\xff"}', "latin1"), "it is not UTF-8"],
    ["half a surrogate pair", Buffer.from('{"path":"/\\ud800","content":""}'), "surrogate"],
    ["deep nesting", Buffer.from(`${"[".repeat(500_000)}${"]".repeat(500_000)}`), "nested deeper"],
    ["a prototype", Buffer.from('{"__proto__":{"path":"/x"},"content":""}'), "/path: missing"],
  ])("%s", async (_, input, reason) => {
    await refused(input, invalid(reason));
  });

  it("of 3 MB, and of more than a message holds, is refused", async () => {
    await refused({ path: "/x", content: "x".repeat(3_000_000) }, { code: "RESOURCE_EXHAUSTED" });
    await refused({ path: "/x", content: "x".repeat(10_000_000) }, { code: "RESOURCE_EXHAUSTED" });
  });

  it("in the words around it is refused", async () => {
    const long = "x".repeat(2000);
    for (const more of [{ agentId: long }, { taskId: long }, { reason: long }]) {
      await expect(machine.core.call("hw.info", {}, more)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    await expect(machine.core.call(long)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("of files is told: too large, not text", async () => {
    writeFileSync(`${work}/large`, Buffer.alloc(1024 * 1024 + 1));
    writeFileSync(`${work}/binary`, Buffer.from([0x66, 0xff, 0xfe]));
    writeFileSync(`${work}/controls`, Buffer.alloc(1024 * 1024, 1));
    const read = async (name: string) => (await machine.core.call("fs.read", { path: `${work}/${name}` })).error;
    expect(await read("large")).toContain("1048577 bytes, and at most 1048576");
    expect(await read("binary")).toContain("not UTF-8");
    expect(await read("controls")).toContain("at most 3145728 are returned");
    expect((await machine.core.call("fs.read", { path: "/proc/self/status" })).output.content).toContain("Name:");
  });

  it("never ends the daemon: noise at the socket", async () => {
    let state = 1;
    const random = (below: number) => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return state % below;
    };
    const names = ["fs.read", "fs.write", "fs.list", "sec.grant", "monitor.disk", "", "fs", "\0", "FS.READ"];
    const pieces = ["{", "}", '"path"', ":", '"/etc"', "null", "1e999", "[", "]", ",", "\\u0000", "\xff", '"content"'];
    const task = machine.agent("task");
    for (let round = 0; round < 20; round += 1) {
      const calls = Array.from({ length: 25 }, () => {
        const input = Buffer.from(
          Array.from({ length: random(12) }, () => pieces[random(pieces.length)]).join(""),
          "latin1",
        );
        return task.raw.execute(requestOf(names[random(names.length)] ?? "", input));
      });
      for (const { status } of await Promise.allSettled(calls)) expect(status).toBe("rejected");
    }
    expect((await machine.core.call("sec.verify_ledger")).output.valid).toBe(true);
  });
});

describe("limits", () => {
  it("an agent has at most 64 calls in progress", async () => {
    await grant(["monitor:read"]);
    const task = machine.agent("task");
    const calls = await Promise.allSettled(Array.from({ length: 120 }, () => task.call("monitor.cpu")));
    const refused = calls.filter(({ status }) => status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    for (const one of refused) expect(one).toMatchObject({ reason: { code: "RESOURCE_EXHAUSTED" } });
    expect(await task.call("monitor.cpu")).toMatchObject({ success: true });
  });

  it("writes of one file at the same time do not mix, and are all taken back in order", async () => {
    const path = `${work}/f`;
    const done = await Promise.all(
      Array.from({ length: 20 }, (_, at) => machine.core.call("fs.write", { path, content: `${at}` })),
    );
    const ids = done.map(({ executionId }) => executionId);
    for (let left = ids.length; left > 0; left -= 1) {
      const tries = await Promise.all(
        ids.map((executionId) =>
          machine.core.raw.rollback({ executionId, reason: "" }).then(
            ({ success }) => success,
            () => false,
          ),
        ),
      );
      if (!existsSync(path)) break;
      expect(tries).toContain(true);
    }
    expect(existsSync(path)).toBe(false);
    expect(mkdtempSync(`${work}/`)).toBeTruthy();
  });
});
