import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Machine, startMachine } from "../testing/harness.ts";

let machine: Machine;
let work: string;
let child: ChildProcess;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(work);
  writeFileSync(`${work}/file`, "text");
  child = spawn("/usr/bin/sleep", ["600"], { stdio: "ignore" });
  const acts = ["read", "write", "append", "delete", "move", "copy", "chmod", "chown", "search"];
  const capabilities = [...acts.map((act) => `fs:${act}:/**`), "backup:create:/**"];
  const granted = await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "a test" });
  expect(granted.error).toBe("");
});
afterEach(() => {
  child.kill("SIGKILL");
  machine.close();
});

const callers = () => [machine.agent("task"), machine.core, machine.operator];
const score = () => readFileSync(`/proc/${child.pid}/oom_score_adj`, "utf8");

describe("the kernel's files", () => {
  it("are not changed, neither by name nor through a link nor in a proc that is mounted elsewhere", async () => {
    const file = `${child.pid}/oom_score_adj`;
    symlinkSync("/proc", `${work}/kernel`);
    mkdirSync(`${work}/mounted`);
    execFileSync("mount", ["-t", "proc", "proc", `${work}/mounted`]);
    try {
      for (const folder of ["/proc", `${work}/kernel`, `${work}/mounted`]) {
        for (const caller of callers()) {
          const path = `${folder}/${file}`;
          const code = expect.stringMatching(/PERMISSION_DENIED|FAILED_PRECONDITION/);
          await expect(caller.call("fs.append", { path, content: "777" }), path).rejects.toMatchObject({ code });
          await expect(caller.call("fs.write", { path, content: "777" }), path).rejects.toMatchObject({ code });
          await expect(caller.call("fs.chmod", { path, mode: "0600" }), path).rejects.toMatchObject({ code });
          await expect(
            caller.call("fs.copy", { source: `${work}/file`, destination: path, overwrite: true }),
            path,
          ).rejects.toMatchObject({ code });
        }
      }
      expect(score()).toBe("0\n");
    } finally {
      execFileSync("umount", [`${work}/mounted`]);
    }
  });

  it("are read whole: of a number every digit", async () => {
    for (const path of ["/proc/sys/kernel/pid_max", "/proc/sys/fs/file-max", "/proc/cpuinfo", "/proc/mounts"]) {
      const { output } = await machine.agent("task").call("fs.read", { path });
      if (path.startsWith("/proc/sys")) expect(output.content).toBe(readFileSync(path, "utf8"));
      expect(output.size).toBe(Buffer.byteLength(output.content));
      expect(output.size).toBeGreaterThan(1);
    }
    const { output } = await machine.agent("task").call("fs.read", { path: `/proc/${child.pid}/comm` });
    expect(output.content).toBe("sleep\n");
  });

  it("are not copied by the folder", async () => {
    const copy = machine.core.call("fs.copy", { source: `/proc/${child.pid}`, destination: `${work}/copy` });
    await expect(copy).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await expect(machine.core.call("backup.create", { path: "/sys/class" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
    });
  });
});

describe("what /proc shows of the machine's own processes", () => {
  it.each([
    "/proc/self/environ",
    "/proc/self/maps",
    "/proc/self/status",
    "/proc/self/fd/0",
    "/proc/self/root/etc/hostname",
    "/proc/self/cwd/package.json",
    "/proc/thread-self/environ",
    "/proc/1/environ",
    `/proc/${process.pid}/environ`,
    `/proc/${process.pid}/task/${process.pid}/environ`,
    `/proc/../proc/self/./environ`,
    "/dev/fd/0",
    "/dev/stdin",
    "WORK/own/environ",
    "WORK/environ",
    "WORK/root/etc/hostname",
  ])("is reached by no file tool, whatever the grant: %s", async (named) => {
    symlinkSync("/proc/self", `${work}/own`);
    symlinkSync("/proc/thread-self/environ", `${work}/environ`);
    symlinkSync("/proc/self/root", `${work}/root`);
    const path = named.replace("WORK", work);
    for (const caller of callers()) {
      for (const tool of ["fs.read", "fs.stat"]) {
        await expect(caller.call(tool, { path }), tool).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
      }
      const copy = caller.call("fs.copy", { source: path, destination: `${work}/copy` });
      await expect(copy).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    }
    expect(readdirSync(work)).not.toContain("copy");
  });

  it("is not reached by the number of a thread either", async () => {
    for (const thread of readdirSync("/proc/self/task")) {
      const read = machine.core.call("fs.read", { path: `/proc/${thread}/environ` });
      await expect(read, thread).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    }
  });

  it("is passed over by a search", async () => {
    const input = { directory: "/proc", pattern: "environ", max_depth: 2, limit: 1000 };
    const { output } = await machine.core.call("fs.search", input);
    const found = output.matches.map(({ path }: { path: string }) => path);
    expect(found).toContain(`/proc/${child.pid}/environ`);
    expect(found).not.toContain(`/proc/${process.pid}/environ`);
    expect(found).not.toContain("/proc/1/environ");
  });
});
