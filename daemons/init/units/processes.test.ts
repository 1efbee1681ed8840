/** Real, short-lived processes, in real control groups where the host has them. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { openGroups } from "#lib/linux/cgroups";
import { parseStat } from "#lib/linux/proc";
import { type Children, openChildren } from "../base/children.ts";
import { openSyscalls } from "../base/syscalls.ts";
import type { UnitLog } from "../logs/logs.ts";
import { reapOrphans } from "../power/orphans.ts";
import { startProcess } from "./processes.ts";

const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
/** Where hosts mount cgroup2: alone, or beside version 1. */
const mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].filter((path) => existsSync(join(path, "cgroup.procs")));
const limits = { memoryMiB: 256, pids: 32 };
const silent: UnitLog = { read: (pipe) => pipe.resume(), say() {} };
/** Hands over what comes through either pipe, as text. */
const heard = (take: (text: string) => void): UnitLog => ({
  read: (pipe) => pipe.on("data", (chunk: Buffer) => take(chunk.toString())),
  say: take,
});

let folder: string;
let children: Children;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-processes-");
  children = openChildren();
});
afterEach(() => rmSync(folder, { recursive: true }));

const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}`) && parseStat(readFileSync(`/proc/${pid}/stat`, "utf8")).state !== "Z";

async function eventually(wanted: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 3_000 && !wanted(); tries += 1) await systemClock.sleep(10);
  return wanted();
}

describe.each([
  { kind: "without control groups", mount: () => join(folder, "nowhere") },
  ...mounts.map((mount) => ({ kind: `in control groups of ${mount}`, mount: () => mount })),
])("a unit's process $kind", ({ mount }) => {
  const open = () => openGroups(join(mount(), `aios-test-${process.pid}`), "/proc", systemClock);
  const launch = (script: string, log = silent) => {
    const groups = open();
    const group = groups.open("unit", limits);
    const argv = { program: "sh", args: ["-c", script], env, uid: 0, gid: 0 };
    return { groups, group, unit: startProcess(argv, group, children, log) };
  };

  it("says how it ended, and is ours until then", async () => {
    let output = "";
    const { unit, groups } = launch(
      "echo out; echo err >&2; exit 7",
      heard((text) => {
        output += text;
      }),
    );
    expect(children.has(unit.pid)).toBe(true);
    expect(await unit.ended).toBe("ended with exit code 7");
    expect(children.has(unit.pid)).toBe(false);
    await eventually(() => output.includes("err"));
    expect(output.split("\n").toSorted()).toEqual(["", "err", "out"]);
    groups.close();
  });

  it.each([0, 65_534])("opens its output by name, as user %i too, and its last words are heard", async (user) => {
    const group = open().open("unit", limits);
    let output = "";
    const script = "echo out > /dev/stdout; echo err > /dev/stderr; printf 'last words' >> /dev/stderr";
    const command = { program: "sh", args: ["-c", script], env, uid: user, gid: user };
    const log = heard((text) => {
      output += text;
    });
    const unit = startProcess(command, group, children, log);
    expect(await unit.ended).toBe("ended with exit code 0");
    await eventually(() => output.includes("words"));
    expect(output).toContain("out\n");
    expect(output).toContain("err\nlast words");
    open().close();
  });

  it("ends by SIGTERM when told to, by SIGKILL when it will not", async () => {
    const soft = launch("sleep 60");
    soft.unit.terminate();
    expect(await soft.unit.ended).toBe("ended by SIGTERM");
    const hard = launch("trap '' TERM; echo; while :; do sleep 0.05; done");
    await systemClock.sleep(100);
    hard.unit.terminate();
    await systemClock.sleep(100);
    expect(isAlive(hard.unit.pid)).toBe(true);
    hard.unit.kill();
    expect(await hard.unit.ended).toBe("ended by SIGKILL");
    hard.groups.close();
  });

  it("that cannot be started has ended, with the reason", async () => {
    const group = open().open("unit", limits);
    const unit = startProcess({ program: "/nowhere/at/all", args: [], env, uid: 0, gid: 0 }, group, children, silent);
    expect(unit.pid).toBe(0);
    expect(await unit.ended).toMatch(/^could not be started: .*ENOENT/);
    open().close();
  });

  it("is measured", async () => {
    const { unit, group, groups } = launch("while :; do :; done");
    await expect.poll(() => group.memoryBytes()).toBeGreaterThan(10_000);
    if (mounts.includes(mount())) await expect.poll(() => group.cpuMs(), { timeout: 15_000 }).toBeGreaterThan(20);
    unit.kill();
    await unit.ended;
    groups.close();
  });
});

describe.each(mounts)("control groups of %s", (mount) => {
  it("take a unit's own children along when it ends, and leave nothing behind", async () => {
    const groups = openGroups(join(mount, `aios-test-${process.pid}`), "/proc", systemClock);
    const group = groups.open("unit", limits);
    let output = "";
    // As Node: it does not fork before it was moved.
    const script = "sleep 0.2; setsid sleep 60 & echo $!; exec sleep 60";
    const unit = startProcess(
      { program: "sh", args: ["-c", script], env, uid: 0, gid: 0 },
      group,
      children,
      heard((text) => {
        output += text;
      }),
    );
    await eventually(() => output.includes("\n"));
    const grandchild = Number(output);
    expect(isAlive(grandchild)).toBe(true);
    process.kill(unit.pid, "SIGKILL");
    await unit.ended;
    expect(isAlive(grandchild)).toBe(false);
    groups.close();
    expect(existsSync(join(mount, `aios-test-${process.pid}`))).toBe(false);
  });

  it("leave a unit that makes groups of its own in a leaf, and count and end all below it", async () => {
    const top = join(mount, `aios-test-${process.pid}`);
    const groups = openGroups(top, "/proc", systemClock);
    const group = groups.openNesting("unit", limits);
    const command = { program: "sleep", args: ["60"], env, uid: 0, gid: 0 };
    const unit = startProcess(command, group, children, silent);
    const below = openGroups(group.folder, "/proc", systemClock).open("agent", { ...limits, cpuCores: 1 });
    const own = startProcess(command, below, children, silent);
    const procs = (name: string) => readFileSync(join(top, "unit", name, "cgroup.procs"), "utf8").trim();
    expect(await eventually(() => procs("_own") === `${unit.pid}` && procs("agent") === `${own.pid}`)).toBe(true);
    expect(procs("")).toBe("");
    expect(await group.memoryBytes()).toBeGreaterThan(await below.memoryBytes());
    process.kill(unit.pid, "SIGKILL");
    await unit.ended;
    expect(await own.ended).toBe("ended by SIGKILL");
    groups.close();
    expect(existsSync(top)).toBe(false);
  });
});

describe("orphans", () => {
  it("are reaped only when they are zombies, PID 1's, and not its own", () => {
    const reaped: number[] = [];
    const put = (pid: number, state: string, parent: number) => {
      mkdirSync(join(folder, `${pid}`));
      writeFileSync(join(folder, `${pid}/stat`), `${pid} (a (strange) name) ${state} ${parent} 1 1`);
    };
    put(10, "Z", 1);
    put(11, "Z", 1);
    put(12, "Z", 7);
    put(13, "S", 1);
    put(14, "Z", 1);
    const reap = (pid: number) => reaped.push(pid) > 0 && pid !== 14;
    expect(reapOrphans(folder, 1, (pid) => pid === 11, reap)).toBe(1);
    expect(reaped).toEqual([10, 14]);
    expect(reapOrphans(join(folder, "nowhere"), 1, () => false, reap)).toBe(0);
  });
});

describe("system calls", () => {
  it("throw the errno's name, the act and the object", () => {
    const syscalls = openSyscalls();
    expect(() => syscalls.mount("none", "/nowhere/at/all", "tmpfs", 0)).toThrow(
      expect.objectContaining({ code: "ENOENT", message: "mount tmpfs on /nowhere/at/all: ENOENT" }),
    );
    expect(() => syscalls.unmount("/proc/version")).toThrow(expect.objectContaining({ code: "EINVAL" }));
    expect(syscalls.reap(999_999)).toBe(false);
  });

  it("do not take the host down", () => {
    expect(() => openSyscalls().reboot("power-off")).toThrow("refused, this process is not PID 1");
  });

  it("give no warning of their own", () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on("warning", listen);
    openSyscalls();
    process.off("warning", listen);
    expect(warnings).toEqual([]);
  });
});
