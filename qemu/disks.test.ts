import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cgroupMount } from "./cgroup.ts";
import { copySparse, lockFolder, makeVolume, prepareDataDisk } from "./disks.ts";
import { slotAddresses } from "./network.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aios-disks-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

describe("data disk", () => {
  it("is made sparse, and kept as it is the second time", () => {
    const path = prepareDataDisk(folder, 64 * 1024 * 1024);
    expect(statSync(path).size).toBe(64 * 1024 * 1024);
    expect(statSync(path).blocks).toBeLessThan(16);
    writeFileSync(path, "data");
    expect(readFileSync(prepareDataDisk(folder), "utf8")).toBe("data");
  });

  it("is copied without its holes", () => {
    const path = prepareDataDisk(folder, 64 * 1024 * 1024);
    copySparse(path, join(folder, "copy"));
    expect(statSync(join(folder, "copy"))).toMatchObject({ size: 64 * 1024 * 1024, blocks: 0 });
  });
});

it("makes a sparse volume that holds a folder", () => {
  const path = join(folder, "data.ext4");
  mkdirSync(join(folder, "from"));
  writeFileSync(join(folder, "from/word"), "held");
  makeVolume(path, 64 * 1024 * 1024, join(folder, "from"), 0);
  expect(statSync(path).size).toBe(64 * 1024 * 1024);
  expect(statSync(path).blocks * 512).toBeLessThan(32 * 1024 * 1024);
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
  expect(spawnSync("debugfs", ["-R", "cat /word", path], { encoding: "utf8", env }).stdout).toBe("held");
  expect(() => makeVolume(join(folder, "none"), 1)).toThrow(/^make .*none: /);
});

describe("lock of a machine's folder", () => {
  it("keeps a second machine out while its process lives", () => {
    const unlock = lockFolder(folder);
    expect(() => lockFolder(folder)).toThrow(new RegExp(`process ${process.pid} runs a machine`));
    unlock();
    lockFolder(folder)();
  });

  it("counts for nothing once its process is gone", () => {
    const { pid } = spawnSync("true");
    writeFileSync(join(folder, "lock"), `${pid}\n`);
    lockFolder(folder)();
  });
});

describe("native lane", () => {
  it("gives every slot its own /30", () => {
    expect(slotAddresses(0)).toEqual({ host: "10.190.0.1", machine: "10.190.0.2" });
    expect(slotAddresses(63)).toEqual({ host: "10.190.0.253", machine: "10.190.0.254" });
  });

  it.each([
    ["alone", "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "/sys/fs/cgroup"],
    ["beside v1", "40 24 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw", "/sys/fs/cgroup/unified"],
    ["not at all", "40 24 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw", undefined],
  ])("finds cgroup2 mounted %s", (_, line, path) => {
    expect(cgroupMount(`1 0 8:1 / / rw - ext4 /dev/sda rw\n${line}\n`)).toBe(path);
  });
});
