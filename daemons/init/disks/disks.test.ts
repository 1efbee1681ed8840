/** The data volume's file systems are made and checked for real, in files. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { openChildren } from "../base/children.ts";
import { commandRunner } from "../base/commands.ts";
import type { Screen } from "../early/screen.ts";
import { isBlank, prepareDataVolume } from "./disks.ts";
import { askRepair, repair } from "./repair.ts";

const mebibyte = 1024 * 1024;
const sizeBytes = 64 * mebibyte;
const run = commandRunner(openChildren());
let folder: string;
let device: Parameters<typeof prepareDataVolume>[0];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-disks-");
  const path = join(folder, "disk");
  writeFileSync(path, "");
  truncateSync(path, sizeBytes);
  device = { name: "disk", path, sizeBytes, partitionLabel: "aios-data", serial: "" };
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(at: number, bytes: Buffer): void {
  const file = openSync(device.path, "r+");
  writeSync(file, bytes, 0, bytes.length, at);
  closeSync(file);
}

const hash = () => createHash("sha256").update(readFileSync(device.path)).digest("hex");

describe("the data volume", () => {
  it("is formatted when blank, and only then", async () => {
    expect(await prepareDataVolume(device, run)).toBe("formatted");
    expect(execFileSync("dumpe2fs", ["-h", device.path], { encoding: "utf8", stdio: "pipe" })).toContain("aios-data");
    expect(await prepareDataVolume(device, run)).toBe("clean");
  });

  it("is repaired where fsck can do so by itself", async () => {
    await prepareDataVolume(device, run);
    // A wrong count of free inodes in the superblock, and the mark of a file system that was not unmounted.
    execFileSync("debugfs", ["-w", "-R", "set_super_value free_inodes_count 7", device.path], { stdio: "pipe" });
    execFileSync("debugfs", ["-w", "-R", "set_super_value state 0", device.path], { stdio: "pipe" });
    expect(await prepareDataVolume(device, run)).toBe("repaired");
    expect(await prepareDataVolume(device, run)).toBe("clean");
  });

  it.each([
    ["something else is on it", () => write(0, Buffer.from("-----BEGIN SOMETHING-----"))],
    ["something is only in its middle", () => write(sizeBytes / 2, Buffer.from("left over"))],
    ["something is only at its end", () => write(sizeBytes - 20, Buffer.from("left over"))],
  ])("is left as it is when %s", async (_, damage) => {
    damage();
    const before = hash();
    await expect(prepareDataVolume(device, run)).rejects.toMatchObject({
      code: "DATA_LOSS",
      message: expect.stringMatching(/not an ext4 file system; nothing was written/),
    });
    expect(hash()).toBe(before);
  });

  it("is left as it is when its first mebibyte was wiped: a backup superblock shows that it was in use", async () => {
    await prepareDataVolume(device, run);
    write(0, Buffer.alloc(mebibyte));
    const before = hash();
    await expect(prepareDataVolume(device, run)).rejects.toMatchObject({ code: "DATA_LOSS" });
    expect(hash()).toBe(before);
  });

  it("is not used when fsck cannot repair it by itself", async () => {
    await prepareDataVolume(device, run);
    // The group descriptors and bitmaps, overwritten.
    write(4096, Buffer.alloc(16 * 4096, 0xa5));
    write(1024 * 2, Buffer.alloc(4096, 0x5a));
    await expect(prepareDataVolume(device, run)).rejects.toMatchObject({
      code: "DATA_LOSS",
      message: expect.stringContaining("fsck.ext4"),
    });
  });

  it.each([
    ["its group descriptors were overwritten", () => write(1024 * 2, Buffer.alloc(4096, 0x5a))],
    ["its superblock is gone", () => write(0, Buffer.alloc(4096, 0x11))],
  ])("is mended by choice when %s, and is used then", async (_, damage) => {
    await prepareDataVolume(device, run);
    damage();
    await expect(prepareDataVolume(device, run)).rejects.toMatchObject({
      code: "DATA_LOSS",
      message: expect.stringContaining('choose "repair the data volume" in the boot menu'),
    });
    await repair(device.path, run);
    expect(await prepareDataVolume(device, run)).toBe("clean");
  });

  it("is blank when nothing was ever written to it", () => {
    expect(isBlank(device.path, sizeBytes)).toBe(true);
    write(8 * mebibyte + 1024, Buffer.from([1]));
    expect(isBlank(device.path, sizeBytes)).toBe(false);
  });
});

describe("the choice at the screen", () => {
  const said: string[] = [];
  const screen: Screen = { say: (line) => said.push(line), fault() {}, onLine() {} };

  it.each([
    [["repair\n"], "repair"],
    [["rep", "air\r"], "repair"],
    [["leave\n"], "leave"],
    [["yes\n"], "leave"],
    [["\n", "repair\n"], "leave"],
    [["repair"], "leave"],
  ])("of %j is to %s", async (typed, choice) => {
    const clock = new ManualClock();
    const input = new PassThrough();
    const asked = askRepair("/dev/vda", "fsck gave up", input, screen, clock);
    for (const text of typed) input.write(text);
    await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(300_000);
    expect(await asked).toBe(choice);
    expect(said).toContainEqual(expect.stringContaining("what cannot be read is lost"));
  });
});

describe("a command", () => {
  it("rejects with the end of what it said, its exit code or its signal, or why it could not start", async () => {
    await expect(run("sh", ["-c", "echo first; echo last >&2; exit 3"])).rejects.toThrow(/exit code 3: first\nlast/);
    await expect(run("sh", ["-c", "kill -9 $$"])).rejects.toThrow(/ended by SIGKILL: no output/);
    await expect(run("/nowhere/at/all", [])).rejects.toThrow(/ENOENT/);
    await expect(run("sleep", ["10"], { timeoutMs: 50 })).rejects.toThrow(/ended by SIGKILL/);
    expect(await run("sh", ["-c", "cat; exit 2"], { input: "in", codes: [2] })).toEqual({ code: 2, output: "in" });
  });
});
