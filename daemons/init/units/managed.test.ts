/** Managed units in a machine of name spaces: what people add beside the daemons. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { consoleLines } from "#manifest";
import { InitService, UnitState } from "#proto/aios/init";
import { makeTinyRoot, startTinyMachine, type TinyMachine } from "../testing/tiny-root.ts";

let folder: string;
let machine: TinyMachine;
let init: Client<typeof InitService>;

const pathTo = (name: string) => join(folder, name);
const services = "/etc/aios/services";

/** A service that says who it is, has a child that forks away at once, and listens on its port after a moment. */
const script = `
  const { spawn } = require("node:child_process");
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { detached: true, stdio: "ignore" });
  console.log("probe of", process.getuid(), process.getgid(), process.env.HOME, "child", child.pid);
  setTimeout(() => require("node:http").createServer((_, out) => out.end("here")).listen(8181, "127.0.0.1"), 200);
`;

const probe = (more = "") =>
  `name = "probe"\nargv = ["/usr/bin/node", "-e", ${JSON.stringify(script)}]\nuser = "web"\nready_port = 8181\n${more}`;

function describeService(name: string, text: string): void {
  mkdirSync(machine.path(services), { recursive: true });
  writeFileSync(machine.path(`${services}/${name}.toml`), text);
}

async function start(): Promise<void> {
  machine = await startTinyMachine(pathTo("root"), pathTo("data"), pathTo("provision"));
  await machine.says(consoleLines.ready);
  init = connect(InitService, `unix:${machine.path(socketPath("/run/aios", "init", "ctl"))}`);
}

async function powerOff(): Promise<void> {
  init.close();
  machine.signal("SIGUSR2");
  await machine.says(consoleLines.powerOff, 25_000);
  await machine.ended;
}

async function eventually<T>(look: () => Promise<T>, wanted: (found: T) => boolean): Promise<T> {
  const giveUpAt = performance.now() + 60_000;
  for (;;) {
    const found = await look();
    if (wanted(found) || performance.now() > giveUpAt) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function logOf(unit: string): Promise<string> {
  const lines: string[] = [];
  for await (const { text } of init.readLogs({ unit, lines: 0, follow: false })) lines.push(text);
  return lines.join("\n");
}

beforeAll(async () => {
  folder = mkdtempSync("/tmp/aios-managed-");
  for (const name of ["data", "provision"]) mkdirSync(pathTo(name));
  await makeTinyRoot(pathTo("root"));
  writeFileSync(pathTo("root/etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:1234:1235::/srv:/bin/false\n");
  writeFileSync(pathTo("root/etc/group"), "root:x:0:\nweb:x:1235:\n");
  await start();
});

afterAll(async () => {
  init?.close();
  if (machine !== undefined && existsSync(`/proc/${machine.pid}`)) machine.signal("SIGKILL");
  await machine?.ended;
  rmSync(folder, { recursive: true, force: true });
});

describe("managed units", () => {
  it("are started on demand as their user, are ready when their port answers, and are supervised", async () => {
    describeService("probe", probe("# kept\n"));
    expect(await init.getUnit({ name: "probe" })).toMatchObject({
      state: UnitState.UNIT_STOPPED,
      managed: true,
      enabled: false,
    });
    const unit = await init.startUnit({ name: "probe" });
    expect(unit).toMatchObject({ state: UnitState.UNIT_READY, reason: "answers on port 8181" });
    expect(unit.readyAfterMs).toBeGreaterThan(150);
    expect(await logOf("probe")).toMatch(/probe of 1234 1235 \/srv child \d+/);
    const child = /child (\d+)/.exec(await logOf("probe"))?.[1];
    process.kill(hostPid(unit.pid), "SIGKILL");
    const again = await eventually(
      () => init.getUnit({ name: "probe" }),
      ({ state, pid }) => state === UnitState.UNIT_READY && pid !== unit.pid,
    );
    expect(again).toMatchObject({ restarts: 1, state: UnitState.UNIT_READY });
    // Its orphan is killed with the group and reaped a moment later.
    const left = await eventually(
      async () => existsSync(machine.path(`/proc/${child}`)),
      (there) => !there,
    );
    expect(left).toBe(false);
  });

  it("outlive the daemons, and a stop that is asked for", async () => {
    const { pid } = await init.getUnit({ name: "probe" });
    await init.restartUnit({ name: "tools" });
    expect(await init.getUnit({ name: "probe" })).toMatchObject({ state: UnitState.UNIT_READY, pid });
    expect(await init.stopUnit({ name: "probe" })).toMatchObject({ state: UnitState.UNIT_STOPPED, pid: 0 });
    await init.startUnit({ name: "probe" });
  });

  it("start at the next boot when enabled, not when disabled, and the boot does not wait for them", async () => {
    expect(await init.enableUnit({ name: "probe" })).toMatchObject({ enabled: true, state: UnitState.UNIT_READY });
    expect(readFileSync(machine.path(`${services}/probe.toml`), "utf8")).toBe(`enabled = true\n${probe("# kept\n")}`);
    describeService("idle", 'name = "idle"\nargv = ["/usr/bin/node", "-e", "setInterval(() => {}, 999)"]\n');
    await powerOff();
    await start();
    const unit = await eventually(
      () => init.getUnit({ name: "probe" }),
      ({ state }) => state === UnitState.UNIT_READY,
    );
    const { autonomyMs, kernelStartAt } = await init.getBoot({});
    expect(unit.startedAt - kernelStartAt).toBeGreaterThanOrEqual(autonomyMs - 1);
    expect(await init.getUnit({ name: "idle" })).toMatchObject({ state: UnitState.UNIT_STOPPED, enabled: false });
    expect(await init.startUnit({ name: "idle" })).toMatchObject({ state: UnitState.UNIT_READY, reason: "runs" });
    expect(await init.disableUnit({ name: "probe" })).toMatchObject({ enabled: false });
  });

  it("are not taken for ready because another program answers on their port", async () => {
    describeService("second", 'name = "second"\nargv = ["/usr/bin/node"]\nrestart = "never"\nready_port = 8181\n');
    expect(await init.getUnit({ name: "probe" })).toMatchObject({ state: UnitState.UNIT_READY });
    expect(await init.startUnit({ name: "second" })).toMatchObject({
      state: UnitState.UNIT_STOPPED,
      reason: "could not be started: port 8181 is taken by another program",
    });
  });

  it("say what is wrong: no program, no account, a broken file, the name of a daemon", async () => {
    describeService("lost", 'name = "lost"\nargv = ["/usr/bin/nothing"]\nrestart = "never"\n');
    describeService("orphan", 'name = "orphan"\nargv = ["/usr/bin/node"]\nuser = "ghost"\nrestart = "never"\n');
    expect((await init.startUnit({ name: "lost" })).reason).toBe(
      "could not be started: /usr/bin/nothing does not exist",
    );
    expect((await init.startUnit({ name: "orphan" })).reason).toContain("account ghost: it is not in /etc/passwd");
    describeService("broken", "name = ");
    describeService("tools", 'name = "tools"\nargv = ["/usr/bin/node"]\n');
    await expect(init.startUnit({ name: "broken" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await init.getUnit({ name: "tools" })).managed).toBe(false);
    const { faults } = await init.getBoot({});
    expect(faults.join("\n")).toMatch(/broken\.toml:1[\s\S]*a daemon has this name/);
    for (const name of ["broken", "tools"]) rmSync(machine.path(`${services}/${name}.toml`));
    await init.listUnits({});
    expect((await init.getBoot({})).faults.join()).not.toContain(services);
    await expect(init.enableUnit({ name: "tools" })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await expect(init.enableUnit({ name: "nobody" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(init.enableUnit({ name: "../config" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("are stopped and forgotten when their file is gone", async () => {
    const { pid } = await init.getUnit({ name: "probe" });
    rmSync(machine.path(`${services}/probe.toml`));
    const names = async () => (await init.listUnits({})).units.map(({ name }) => name);
    expect(await eventually(names, (found) => !found.includes("probe"))).not.toContain("probe");
    expect(existsSync(machine.path(`/proc/${pid}`))).toBe(false);
    await expect(init.startUnit({ name: "probe" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await powerOff();
  });
});

/** The host's number of a process of the machine. */
function hostPid(pid: number): number {
  const inside = readFileSync(machine.path(`/proc/${pid}/cmdline`), "utf8");
  // All of them: the host's numbers begin again when they reach their end.
  for (const candidate of readdirSync("/proc").filter(Number).map(Number)) {
    const status = existsSync(`/proc/${candidate}/status`) ? readFileSync(`/proc/${candidate}/status`, "utf8") : "";
    const numbers = /^NSpid:\s*(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
    if (
      numbers.length === 2 &&
      numbers[1] === `${pid}` &&
      readFileSync(`/proc/${candidate}/cmdline`, "utf8") === inside
    )
      return candidate;
  }
  throw new Error(`the host does not see process ${pid}`);
}
