import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { Identity } from "#lib/rpc/service";
import { type Caller, type Machine, startMachine, whenAsked } from "../testing/harness.ts";
import { openReserve, type Reserve } from "./reserve.ts";

const person: Identity = { kind: "operator", name: "p", role: "admin" };
const agent: Identity = { kind: "agent", name: "task" };
const act = (effect: "read" | "change", whenFull?: "as ever") =>
  ({ name: "a.b", effect, ...(whenFull && { whenFull }) }) as const;

describe("the reserve", () => {
  const mib = 1024 * 1024;
  const clock = new ManualClock();
  let folder: string;
  let volume: { total: number; available: number };
  let reserve: Reserve;
  const open = () => openReserve({ path: `${folder}/reserve`, clock, log: silentLog, room: () => volume });
  const size = () => statSync(`${folder}/reserve`).size;
  const made = async () => {
    await clock.advance(5_000);
    await clock.advance(60_000);
  };

  beforeEach(() => {
    folder = mkdtempSync("/tmp/aios-reserve-");
    volume = { total: 1024 * mib, available: 1000 * mib };
    reserve = open();
  });
  afterEach(() => {
    reserve.close();
    rmSync(folder, { recursive: true });
  });

  it("is made after the start, of blocks of its own, where twice its size is free", async () => {
    volume = { ...volume, available: 31 * mib };
    await made();
    expect(size()).toBe(0);
    expect(reserve.full()).toBe(false);
    volume = { ...volume, available: 32 * mib };
    await made();
    expect(size()).toBe(16 * mib);
    expect(statSync(`${folder}/reserve`).blocks * 512).toBeGreaterThanOrEqual(16 * mib);
  });

  it("is a sixteenth of a small volume", async () => {
    reserve.close();
    volume = { total: 64 * mib, available: 60 * mib };
    reserve = open();
    await made();
    expect(size()).toBe(4 * mib);
  });

  it("is given slice by slice, and taken back when there is room for all of it", async () => {
    await made();
    volume = { ...volume, available: 0 };
    expect(reserve.full()).toBe(false);
    expect(reserve.give()).toBe(true);
    expect(size()).toBe(16 * mib - 128 * 1024);
    expect(reserve.full()).toBe(true);
    let slices = 1;
    while (reserve.give()) slices++;
    expect(slices).toBe(128);
    expect(size()).toBe(0);
    volume = { ...volume, available: 31 * mib };
    expect(reserve.full()).toBe(true);
    volume = { ...volume, available: 32 * mib };
    expect(reserve.full()).toBe(false);
    expect(size()).toBe(16 * mib);
  });

  it("has given still after a restart", async () => {
    await made();
    volume = { ...volume, available: 0 };
    reserve.give();
    reserve.close();
    reserve = open();
    expect(reserve.full()).toBe(true);
  });

  it("lets reads through and what says so: of people until nothing is left, of others until half is", async () => {
    await made();
    reserve.admit(act("change"), agent);
    volume = { ...volume, available: 0 };
    reserve.give();
    for (const caller of [person, agent]) {
      reserve.admit(act("read"), caller);
      reserve.admit(act("change", "as ever"), caller);
      expect(() => reserve.admit(act("change"), caller)).toThrow(
        expect.objectContaining({
          code: "RESOURCE_EXHAUSTED",
          message: expect.stringMatching(
            /the data volume is full \(0 MiB are free, 16 MiB are needed\).*storage.clean/,
          ),
        }),
      );
    }
    while (size() > 8 * mib) reserve.give();
    reserve.admit(act("read"), person);
    expect(() => reserve.admit(act("read"), agent)).toThrow(/kept for people/);
    while (reserve.give());
    expect(() => reserve.admit(act("read"), person)).toThrow(/data volume is full/);
  });
});

describe.runIf(process.getuid?.() === 0)("a disk that is really full", () => {
  const volumeMiB = 64;
  let volume: string;
  let machine: Machine;
  let ballast: string;
  const clock = new ManualClock();

  beforeEach(async () => {
    const folder = mkdtempSync("/tmp/aios-full-");
    volume = `${folder}/volume`;
    mkdirSync(volume);
    execFileSync("truncate", ["-s", `${volumeMiB}M`, `${folder}/image`]);
    const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
    execFileSync("mkfs.ext4", ["-q", "-F", "-m", "0", `${folder}/image`], { env });
    execFileSync("mount", ["-o", "loop", `${folder}/image`, volume], { env });
    machine = await startMachine({ clock, temporary: volume });
    await clock.advance(5_000);
    ballast = `${volume}/ballast`;
    for (let at = 0; at < 5; at++) await machine.operator.call("fs.write", { path: `${volume}/w${at}`, content: "w" });
  });
  afterEach(() => {
    machine.close();
    // Its sockets close a moment later.
    execFileSync("umount", ["-l", volume]);
    rmSync(dirname(volume), { recursive: true, force: true });
  });

  const write = (caller: Caller) => caller.call("fs.write", { path: `${volume}/f`, content: "x".repeat(10_000) });
  const untilFull = async () => {
    fill(ballast);
    for (let at = 0; at < 500; at++) {
      const answer = await write(machine.operator).catch((error: unknown) => error as { code: string });
      if ("code" in answer && answer.code === "RESOURCE_EXHAUSTED") return;
    }
    throw new Error("it never ran full");
  };

  it("is looked at and cleared by people, and every call is taken again at once", async () => {
    await untilFull();
    await expect(write(machine.operator)).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining("the data volume is full"),
    });
    for (const tool of ["storage.usage", "sec.audit", "sec.verify_ledger", "alert.list"])
      expect(await machine.operator.call(tool)).toMatchObject({ success: true });
    expect(await machine.operator.call("fs.delete", { path: `${volume}/w0` })).toMatchObject({
      success: true,
      output: { deleted: true, permanent: true },
      backupId: "",
    });
    expect(await machine.operator.call("fs.delete", { path: ballast, permanent: true })).toMatchObject({
      success: true,
    });
    expect(await write(machine.operator)).toMatchObject({ success: true });
    expect((await machine.operator.call("fs.delete", { path: `${volume}/w1` })).output.permanent).toBe(false);
    expect((await machine.operator.call("sec.verify_ledger", { full: true })).output.problems).toEqual([]);
  });

  it("keeps room for people though what is refused is asked again and again, and over a restart", async () => {
    await untilFull();
    const left = () => statSync(`${machine.folder}/state/ledger/reserve`).size;
    const before = left();
    for (let at = 0; at < 200; at++)
      await expect(write(machine.agent("task"))).rejects.toMatchObject({
        code: expect.stringMatching(/EXHAUSTED|DENIED/),
      });
    expect(left()).toBe(before);
    await machine.restart();
    for (let at = 0; at < 50; at++)
      expect(await machine.operator.call("storage.usage")).toMatchObject({ success: true });
    expect(left()).toBeGreaterThan(1024 * 1024);
    expect(await machine.operator.call("fs.delete", { path: ballast, permanent: true })).toMatchObject({
      success: true,
    });
    expect(await write(machine.operator)).toMatchObject({ success: true });
  });

  it("asks an admin about an agent's deletion, which is for good then", async () => {
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: [`fs:delete:${volume}/**`], reason: "r" });
    await untilFull();
    const { ticket, answer } = await whenAsked(machine.operator, () =>
      machine.agent("task").call("fs.delete", { path: ballast }),
    );
    expect(ticket).toMatchObject({ risk: "critical", preview: expect.stringContaining("cannot be taken back") });
    expect(ticket.undo).toContain("the disk is full");
    await machine.operator.call("sec.approve", { id: ticket.id, digest: ticket.digest });
    expect(await answer).toMatchObject({ success: true, output: { permanent: true } });
    expect(await write(machine.operator)).toMatchObject({ success: true });
  });

  it("leaves a call waiting that is approved meanwhile and is not taken", async () => {
    const more = { task_id: "t", ask: "everything", reason: "r" };
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["fs:write:/**"], ...more });
    const content = { path: `${volume}/asked`, content: "x" };
    const { ticket, answer } = await whenAsked(machine.operator, () =>
      machine.agent("task").call("fs.write", content, { taskId: "t" }),
    );
    await untilFull();
    const approve = () => machine.operator.call("sec.approve", { id: ticket.id, digest: ticket.digest });
    expect(await approve()).toMatchObject({ success: false, error: expect.stringContaining("data volume is full") });
    await machine.operator.call("fs.delete", { path: ballast });
    expect(await approve()).toMatchObject({ success: true });
    expect(await answer).toMatchObject({ success: true });
  });
});

/** Takes all the room that there is. */
function fill(path: string): void {
  const file = openSync(path, "w");
  try {
    for (const bytes of [65_536, 4_096]) writeAll(file, Buffer.alloc(bytes, 1));
  } finally {
    closeSync(file);
  }
}

function writeAll(file: number, block: Buffer): void {
  try {
    for (;;) writeSync(file, block);
  } catch {
    // Full.
  }
}
