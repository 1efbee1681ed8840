import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Machine, requestOf, startMachine } from "./testing/harness.ts";

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(work);
});

afterEach(() => machine.close());

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
    expect((await machine.core.call("fs.read", { path: "/proc/meminfo" })).output.content).toContain("MemTotal:");
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
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["monitor:read"], reason: "r" });
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
  });
});
