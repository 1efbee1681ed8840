import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { compiled } from "#lib/testing/compiled";
import { openPeer } from "#lib/testing/sockets";
import { ToolRegistryService } from "#proto/aios/tools";
import { noteCarried } from "../../testing/carried.ts";
import { type Answer, answerOf, requestOf } from "../../testing/harness.ts";

/** The daemon in a mount name space of its own: what it mounts is seen by nobody else. Its disks are files of this test. */
let folder: string;
let work: string;
let daemon: ChildProcess;
let core: Client<typeof ToolRegistryService>;
const loops: string[] = [];

beforeAll(async () => {
  folder = realpathSync(mkdtempSync("/tmp/aios-storage-"));
  for (const name of ["run/agents/task", "state", "etc"]) mkdirSync(`${folder}/${name}`, { recursive: true });
  for (const peer of ["orchestrator", "console"]) openPeer(`${folder}/run`, "tools", peer);
  const env = {
    ...compiled,
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    AIOS_RUN_DIR: `${folder}/run`,
    AIOS_STATE_DIR: `${folder}/state`,
    AIOS_ETC_DIR: `${folder}/etc`,
    AIOS_LOG_LEVEL: "error",
  };
  const main = join(import.meta.dirname, "../../main.ts");
  const argv = ["--mount", "--propagation", "private", process.execPath, main];
  daemon = spawn("unshare", argv, { env, stdio: ["ignore", "ignore", "inherit"] });
  core = connect(ToolRegistryService, `unix:${openPeer(`${folder}/run`, "tools", "orchestrator")}`);
  for (;;) {
    if ((await core.listTools({ namespace: "storage" }, { timeoutMs: 1_000 }).catch(() => undefined)) !== undefined)
      return;
    expect(daemon.exitCode).toBeNull();
    await sleep(50);
  }
});

afterAll(async () => {
  core.close();
  const ended = once(daemon, "exit");
  daemon.kill("SIGKILL");
  await ended;
  noteCarried(`${folder}/state`);
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(() => {
  work = mkdtempSync(`${folder}/work-`);
});

afterEach(async () => {
  for (const loop of loops.splice(0)) execFileSync("losetup", ["--detach", loop]);
});

/** A blank disk of 16 MiB that is a file of this test. */
function blankDisk(prepare: (file: string) => void = () => {}): string {
  const file = `${work}/disk-${loops.length}`;
  writeFileSync(file, "");
  truncateSync(file, 16 * 1024 * 1024);
  prepare(file);
  const loop = execFileSync("losetup", ["--find", "--show", "--partscan", file], { encoding: "utf8" }).trim();
  loops.push(loop);
  return loop;
}

const call = async (tool: string, input: object = {}): Promise<Answer> =>
  answerOf(await core.execute(requestOf(tool, input), { timeoutMs: 15_000 }));
const back = ({ executionId }: Answer) => core.rollback({ executionId, reason: "" });
const done = { success: true, error: "" };

interface Usage {
  readonly path: string;
}

const mounted = async (path: string) =>
  (await call("storage.usage")).output.file_systems.find((one: Usage) => one.path === path);

describe("storage", () => {
  it("storage.mkfs makes a file system that storage.list tells of and storage.mount mounts; all but mkfs is taken back", async () => {
    const device = blankDisk();
    const made = await call("storage.mkfs", { device, type: "ext4", label: "scratch" });
    expect(made).toMatchObject({ success: true, output: { device, type: "ext4", size_bytes: 16 * 1024 * 1024 } });
    const { devices } = (await call("storage.list")).output;
    expect(devices).toContainEqual(
      expect.objectContaining({ path: device, type: "loop", fstype: "ext4", label: "scratch", uuid: made.output.uuid }),
    );
    const path = `${work}/disk`;
    mkdirSync(path);
    const mount = await call("storage.mount", { device, path, type: "ext4" });
    expect(mount).toMatchObject({ success: true, output: { path, source: device } });
    expect(mount.output.options).toEqual(expect.arrayContaining(["nosuid", "nodev"]));
    expect(await mounted(path)).toMatchObject({ source: device, type: "ext4", read_only: false });
    await call("fs.write", { path: `${path}/file`, content: "kept" });
    // Only the daemon sees it.
    expect(existsSync(`${path}/file`)).toBe(false);
    for (const erase of [false, true]) {
      expect(await call("storage.mkfs", { device, type: "ext4", erase })).toMatchObject({
        success: false,
        error: expect.stringContaining(`is mounted at ${path}`),
      });
    }
    const unmount = await call("storage.unmount", { path });
    expect(unmount.output).toEqual({ unmounted: true });
    expect(await mounted(path)).toBeUndefined();
    expect(await back(unmount)).toEqual(done);
    expect((await call("fs.read", { path: `${path}/file` })).output.content).toBe("kept");
    expect(await back(mount)).toEqual(done);
    expect(await mounted(path)).toBeUndefined();
    expect(await call("storage.mkfs", { device, type: "ext4" })).toMatchObject({
      error: expect.stringContaining("there is ext4 on it"),
    });
    const again = await call("storage.mkfs", { device, type: "ext4", erase: true });
    expect(again.output.uuid).not.toBe(made.output.uuid);
    await expect(back(again)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("storage.mkfs refuses the system's disk, all of it, and what is no disk", async () => {
    const device = blankDisk((file) => execFileSync("mkfs.ext4", ["-q", "-F", "-L", "aios-data", file]));
    expect(await call("storage.mkfs", { device, type: "ext4", erase: true })).toMatchObject({
      success: false,
      error: expect.stringContaining("the system is on"),
    });
    for (const path of [`${work}/disk-0`, "/dev/null", "/dev/none"]) {
      expect(await call("storage.mkfs", { device: path, type: "ext4", erase: true })).toMatchObject({
        success: false,
        error: expect.stringContaining("not a block device"),
      });
    }
  });

  it("storage.mount takes memory too, covers nothing that is in use, and storage.unmount leaves the system alone", async () => {
    const path = `${work}/memory`;
    mkdirSync(path);
    const mount = await call("storage.mount", { path, type: "tmpfs", size_mb: 2, read_only: true });
    expect(await mounted(path)).toMatchObject({ type: "tmpfs", total_bytes: 2 * 1024 * 1024, read_only: true });
    expect(await call("storage.mount", { path, type: "tmpfs" })).toMatchObject({
      error: expect.stringContaining("mounted there already"),
    });
    const deleted = await call("fs.delete", { path, recursive: true, permanent: true });
    expect(deleted).toMatchObject({ success: false, error: expect.stringContaining("a file system is mounted there") });
    expect(await back(mount)).toEqual(done);
    mkdirSync(`${path}/x`);
    expect(await call("storage.mount", { path, type: "tmpfs" })).toMatchObject({
      error: expect.stringContaining("not empty"),
    });
    expect(await call("storage.mount", { path: `${path}/x`, type: "ext4" })).toMatchObject({
      error: expect.stringContaining("needs a device"),
    });
    for (const system of ["/dev", "/tmp", "/"]) {
      await expect(call("storage.unmount", { path: system })).rejects.toThrow(/is protected/);
    }
    expect(await call("storage.unmount", { path })).toMatchObject({
      error: expect.stringContaining("nothing is mounted there"),
    });
  });
});
