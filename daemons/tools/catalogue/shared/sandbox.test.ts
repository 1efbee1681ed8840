import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Machine, startMachine } from "../../testing/harness.ts";
import { runProgram } from "./program.ts";
import type { Confinement } from "./sandbox.ts";

let machine: Machine;

/** A Node that is no part of a hidden folder: a checkout below /tmp has its own there. */
const node = ["/usr/bin/node", "/usr/local/bin/node", process.execPath].find(
  (path) => existsSync(path) && !/^\/(tmp|var\/tmp|run|mnt|media|root|home)\//.test(realpathSync(path)),
);

beforeEach(async () => {
  machine = await startMachine();
  await grant("process:spawn:/usr/bin/**", "process:output");
});
afterEach(() => machine.close());

const grant = (...capabilities: string[]) =>
  machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });

/** Runs a program as an agent, to its end. */
async function run(command: string, args: readonly string[], more: object = {}) {
  const task = machine.agent("task");
  const started = await task.call("process.spawn", { command: `/usr/bin/${command}`, args, ...more });
  expect(started.error).toBe("");
  const ended = await task.call("process.wait", { pid: started.output.pid });
  return ended.output as { stdout: string; stderr: string; exit_code: number };
}

const shell = (text: string, more?: object) => run("dash", ["-c", text], more);

describe("an agent's program", () => {
  it("sees of other files what was granted to read, and nothing else", async () => {
    const own = `${machine.folder}/srv`;
    mkdirSync(`${own}/open/deep`, { recursive: true });
    for (const name of ["secret.txt", "told.txt", "open/a", "open/deep/b"]) writeFileSync(`${own}/${name}`, name);
    for (const path of [machine.folder, own, `${own}/open`, `${own}/open/deep`]) chmodSync(path, 0o755);
    const look = () => shell(`cd ${own} && cat secret.txt told.txt open/a open/deep/b`);
    expect((await look()).stdout).toBe("");
    await grant(`fs:read:${own}/told.txt`, `fs:read:${own}/open/**`, `fs:read:${machine.folder}/state/**`);
    expect((await look()).stdout).toBe("told.txtopen/aopen/deep/b");
    expect((await shell(`ls ${machine.folder}/state`)).exit_code).not.toBe(0);
  });

  it("is the machine's nobody where a person starts it", async () => {
    const input = { command: "/usr/bin/dash", args: ["-c", "id -u; cat /etc/shadow"], sandbox: true };
    const started = await machine.person("operator").call("process.spawn", input);
    const ended = await machine.core.call("process.wait", { pid: started.output.pid });
    expect(ended.output).toMatchObject({ stdout: "65534\n", stderr: expect.stringContaining("Permission denied") });
  });

  it("reads the system's files and writes none of them", async () => {
    expect((await shell("cat /etc/hostname && id -u")).stdout).toMatch(/^\S+\n[1-9]\d*\n$/);
    const { stderr } = await shell("echo x > /etc/aios-x; echo x > /usr/x; touch /var/x");
    expect(stderr.match(/[Rr]ead-only file system/g)).toHaveLength(3);
  });

  it("sees no sockets, state or secrets of the machine, nor other processes", async () => {
    const { stdout } = await shell(
      "ls -A /run /tmp /root | grep -v :; ls -d /proc/[0-9]* | wc -l; echo $PPID; hostname",
    );
    const [count, parent, name] = stdout.trim().split(/\s+/).slice(-3);
    expect(stdout.trim().split(/\s+/)).toHaveLength(3);
    expect(Number(count)).toBeLessThan(8);
    expect(Number(parent)).toBeLessThan(8);
    expect(name).toBe("sandbox");
  });

  it("has a folder of its own for what it makes meanwhile", async () => {
    expect((await shell("echo kept > /tmp/x && cat /tmp/x", { cwd: "/tmp" })).stdout).toBe("kept\n");
    expect((await shell("cat /tmp/x")).exit_code).not.toBe(0);
    expect((await shell("head -c 100000000 /dev/zero > /tmp/full")).stderr).toContain("No space left");
  });

  it("gains no privileges, and is refused calls that change the machine", async () => {
    const { stdout } = await shell("grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status");
    expect(stdout.replaceAll(/\s+/g, " ").trim()).toBe("CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2");
    for (const command of ["unshare -Ur true", "mount -t tmpfs none /tmp", "chroot / true", "date -s 2001-01-01"]) {
      const { exit_code, stderr } = await shell(`PATH=$PATH:/usr/sbin ${command}`);
      expect(exit_code, command).not.toBe(0);
      expect(stderr, command).toMatch(/not permitted|denied|must be superuser/);
    }
    // What programs and threads are made of still works.
    const text = "new (require('worker_threads').Worker)('console.log(6*7)', { eval: true })";
    await grant(`process:spawn:${node}`, `fs:read:${node}`);
    expect((await shell(`exec ${node} -e "${text}"`)).stdout).toBe("42\n");
  });

  it("reaches no network unless that was granted", async () => {
    const server = createServer((_, answer) => answer.end("reached")).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const text = `fetch('http://127.0.0.1:${port}').then(async (a) => console.log(await a.text()), () => console.log('unreachable'))`;
    await grant(`fs:read:${node}`);
    const fetching = (more: object) => shell(`exec ${node} -e "${text}"`, more);
    try {
      expect((await fetching({})).stdout).toBe("unreachable\n");
      const task = machine.agent("task");
      const asked = await task.call("process.spawn", { command: "/usr/bin/true", network: true });
      expect(asked.error).toContain("holds no grant of process:network");
      await grant("process:network");
      expect((await fetching({ network: true })).stdout).toBe("reached\n");
      expect((await fetching({})).stdout).toBe("unreachable\n");
    } finally {
      server.close();
    }
  });

  it("cannot leave the sandbox by asking, and others may ask for one", async () => {
    expect((await shell("hostname", { sandbox: false })).stdout).toBe("sandbox\n");
    const spawn = { command: "/usr/bin/hostname", sandbox: true };
    const started = await machine.core.call("process.spawn", spawn);
    const ended = await machine.core.call("process.wait", { pid: started.output.pid });
    expect(ended.output.stdout).toBe("sandbox\n");
  });

  it("is ended, and all it started, by its time and by a rollback", async () => {
    const task = machine.agent("task");
    // Times that nobody else sleeps, to find them by.
    const input = { command: "/usr/bin/dash", args: ["-c", `sleep 61.${process.pid} & sleep 62.${process.pid}`] };
    const sleeping = () =>
      spawnSync("pgrep", ["-fc", `^sleep 6[12].${process.pid}$`], { encoding: "utf8" }).stdout.trim();
    const { output, executionId } = await task.call("process.spawn", input);
    await expect.poll(sleeping).toBe("2");
    expect((await machine.core.raw.rollback({ executionId, reason: "" })).success).toBe(true);
    expect((await task.call("process.wait", { pid: output.pid })).output.running).toBe(false);
    await expect.poll(sleeping).toBe("0");
  });
});

describe("a program of ours that is confined", () => {
  const shellIn = (confine: Confinement, text: string, cwd = "/") =>
    runProgram(["/usr/bin/dash", "-c", text], { signal: AbortSignal.timeout(10_000), confine, cwd });

  it("changes what it works on, reads the rest, and sees nothing of what is hidden", async () => {
    const [own, other] = [mkdtempSync("/tmp/aios-own-"), mkdtempSync("/tmp/aios-other-")];
    try {
      writeFileSync(`${other}/f`, "");
      const { stdout, stderr } = await shellIn(
        { writable: [own] },
        `echo x > here; cat here; ls ${other} /var/tmp; echo y > /etc/aios-y`,
        own,
      );
      expect([stdout, readFileSync(`${own}/here`, "utf8")]).toEqual([expect.stringContaining("x\n"), "x\n"]);
      expect(stderr).toMatch(/aios-other-.*No such file/);
      expect(stderr).toMatch(/aios-y: Read-only file system/);
      expect((await shellIn({ readable: [other] }, `ls ${other}; touch ${other}/g`)).stdout).toBe("f\n");
      expect(existsSync(`${other}/g`)).toBe(false);
    } finally {
      for (const folder of [own, other]) rmSync(folder, { recursive: true });
    }
  });

  it("has of root's capabilities those over files, no new privilege, and no network unless it may", async () => {
    const { stdout } = await shellIn(
      {},
      "grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status; ls /sys/class/net; cat /proc/net/route",
    );
    // CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER.
    expect(stdout.replaceAll(/\s+/g, " ")).toContain("CapEff: 000000000000000b NoNewPrivs: 1 Seccomp: 2");
    const interfaces = async (network: boolean) =>
      (await shellIn({ network }, "tail -n +3 /proc/net/dev")).stdout.split("\n").length - 1;
    expect(await interfaces(false)).toBe(1);
    expect(await interfaces(true)).toBe(readFileSync("/proc/net/dev", "utf8").split("\n").length - 3);
  });

  it("is ended with what it started when nobody waits for it any more", async () => {
    const text = `sleep 63.${process.pid} & sleep 64.${process.pid}`;
    const sleeping = () =>
      spawnSync("pgrep", ["-fc", `^sleep 6[34].${process.pid}$`], { encoding: "utf8" }).stdout.trim();
    const stop = new AbortController();
    const running = runProgram(["/usr/bin/dash", "-c", text], { signal: stop.signal, confine: {} });
    await expect.poll(sleeping).toBe("2");
    stop.abort(new Error("enough"));
    await expect(running).rejects.toThrow("enough");
    await expect.poll(sleeping).toBe("0");
  });
});
