import { existsSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { type Mount, namesOf } from "../files/mounts.ts";
import { type Machine, startMachine, whenAsked } from "../testing/harness.ts";
import { protectedPlaces } from "./protected.ts";
import { openProtection } from "./protection.ts";

const folders = { run: "/run/aios", state: "/var/lib/aios", etc: "/etc/aios" };
const agent = { kind: "agent", name: "task" } as const;
const admin = { kind: "operator", name: "alice", role: "admin" } as const;

const denied = { code: "PERMISSION_DENIED" };

describe("an agent, whatever it was granted,", () => {
  let machine: Machine;
  let work: string;
  const call = (tool: string, input: object) => machine.agent("task").call(tool, input);

  beforeEach(async () => {
    machine = await startMachine();
    work = `${machine.folder}/work`;
    mkdirSync(work);
    const acts = ["read", "write", "append", "delete", "move", "copy", "chmod", "chown"];
    const capabilities = [
      ...acts.map((act) => `fs:${act}:/**`),
      ...["backup:create:/**", "backup:restore:/**", "storage:mount:/**", "storage:snapshot:/**", "git:write:/**"],
    ];
    const granted = await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "a test" });
    expect(granted.error).toBe("");
    writeFileSync(`${work}/file`, "text");
    symlinkSync("/usr/bin", `${work}/programs`);
    symlinkSync("/usr/bin/env", `${work}/program`);
  });
  afterEach(() => machine.close());

  it.each([
    ["fs.write", { path: "/usr/lib/aios/tools.cjs", content: "" }],
    ["fs.write", { path: "/usr/../usr/bin/node", content: "" }],
    ["fs.write", { path: "/sbin/aios-init", content: "" }],
    ["fs.write", { path: "/lib/aios/x", content: "" }],
    ["fs.append", { path: "/etc/ld.so.conf.d/x.conf", content: "/srv" }],
    ["fs.write", { path: "/etc/apt/sources.list.d/x.list", content: "" }],
    ["fs.write", { path: "/etc/ssl/certs/ca-certificates.crt", content: "" }],
    ["fs.write", { path: "/root/.ssh/authorized_keys", content: "" }],
    ["fs.write", { path: "/home/bob/.ssh/authorized_keys", content: "" }],
    ["fs.write", { path: "/root/.bashrc", content: "" }],
    ["fs.write", { path: "/boot/vmlinuz", content: "" }],
    ["fs.delete", { path: "/etc/shadow-" }],
    ["fs.delete", { path: "/usr", recursive: true, permanent: true }],
    ["fs.delete", { path: "/var", recursive: true, permanent: true }],
    ["fs.chmod", { path: "/", mode: "0700" }],
    ["fs.chown", { path: "/etc", uid: 1, gid: 1 }],
    ["fs.move", { source: "/usr/bin/env", destination: "WORK/env" }],
    ["fs.move", { source: "/var/lib", destination: "WORK/lib" }],
    ["fs.copy", { source: "WORK/file", destination: "/usr/local/bin/tar" }],
    ["fs.symlink", { path: "/usr/local/sbin/tar", target: "/usr/bin/env" }],
    ["fs.mkdir", { path: "/sys/fs/cgroup/x" }],
    ["fs.write", { path: "WORK/programs/x", content: "" }],
    ["fs.append", { path: "WORK/program", content: "" }],
    ["fs.chmod", { path: "WORK/program", mode: "0644" }],
    ["storage.mount", { path: "/usr/local/share", type: "tmpfs" }],
    ["storage.snapshot", { path: "WORK/file", archive: "/usr/share/x.tar.gz" }],
    ["git.init", { path: "/usr/lib/aios" }],
    ["backup.create", { path: "/etc" }],
  ] as const)("does not change what the machine stands on: %s %j", async (tool, input) => {
    const placed = JSON.parse(JSON.stringify(input).replaceAll("WORK", work));
    await expect(call(tool, placed)).rejects.toMatchObject({
      ...denied,
      message: expect.stringMatching(/ is protected: it holds .+/),
    });
  });

  it("does not change the daemons' state, their configuration and their sockets, nor a folder that holds them", async () => {
    for (const path of ["state/orchestrator/autonomy.json", "state/tools/ledger.db", "etc/triggers/x.toml", "run/x"]) {
      const write = call("fs.write", { path: `${machine.folder}/${path}`, content: "" });
      await expect(write).rejects.toMatchObject(denied);
    }
    for (const path of ["state", "etc", "run", ""]) {
      const remove = call("fs.delete", { path: `${machine.folder}/${path}`, recursive: true, permanent: true });
      await expect(remove).rejects.toMatchObject(denied);
    }
  });

  it("takes no copy of a folder that holds what nobody may read, and makes no archive of it", async () => {
    await expect(call("fs.copy", { source: machine.folder, destination: `${work}/all` })).rejects.toMatchObject(denied);
    await expect(call("backup.create", { path: machine.folder })).rejects.toMatchObject(denied);
  });

  it("does not change or read a protected file by another name of it", async () => {
    linkSync(`${machine.folder}/etc/security/policy.toml`, `${work}/policy`);
    await expect(call("fs.append", { path: `${work}/policy`, content: "x" })).rejects.toMatchObject(denied);
    await expect(call("fs.read", { path: `${work}/policy` })).rejects.toMatchObject(denied);
    linkSync(`${work}/file`, `${work}/other`);
    expect(await call("fs.append", { path: `${work}/other`, content: "x" })).toMatchObject({ success: true });
  });

  it("changes what lies beside it", async () => {
    const report = `${machine.folder}/state/reports/disk.txt`;
    for (const path of [report, `${work}/usr/lib/aios/x`, `${work}/etc/passwd`, `${work}/.ssh/x`]) {
      expect(await call("fs.write", { path, content: "" })).toMatchObject({ success: true });
    }
  });
});

describe("a person", () => {
  let machine: Machine;
  beforeEach(async () => {
    machine = await startMachine();
  });
  afterEach(() => machine.close());

  it("who is an admin is asked before a protected place is changed, and shown what it breaks", async () => {
    const path = `${machine.folder}/etc/triggers/mine.toml`;
    const write = () => machine.operator.call("fs.write", { path, content: "x" });
    const { ticket, answer } = await whenAsked(machine.operator, write);
    expect(ticket).toMatchObject({ risk: "critical", agent_id: "alice" });
    expect(ticket.preview).toMatch(/^PROTECTED .*\/etc: .*; this can break how it boots/);
    expect(existsSync(path)).toBe(false);
    await machine.operator.call("sec.approve", { id: ticket.id, digest: ticket.digest });
    const done = await answer;
    expect(done).toMatchObject({ success: true, executionId: ticket.id });
    expect(readFileSync(path, "utf8")).toBe("x");
    const { output } = await machine.operator.call("sec.audit", { execution_id: ticket.id });
    expect(output.entries[0]).toMatchObject({ caller_kind: "operator", caller: "alice" });
    expect(await machine.operator.raw.rollback({ executionId: done.executionId, reason: "" })).toMatchObject({
      success: true,
    });
  });

  it("may look at the table", async () => {
    const { output } = await machine.operator.call("sec.protected");
    expect(output.places).toContainEqual(
      expect.objectContaining({ paths: expect.arrayContaining(["/usr"]), change: "admin", read: "granted" }),
    );
  });
});

describe("protected places", () => {
  it("are an admin's to change as far as the table says, and each says what a change breaks", async () => {
    const protection = await openProtection(folders, systemClock);
    expect(protection.check("/usr/bin/node", "change", admin)).toMatchObject([
      { paths: expect.arrayContaining(["/usr"]), breaks: "the boot, the daemons and every program that is started" },
    ]);
    for (const caller of [agent, { ...admin, role: "operator" } as const, { kind: "core", name: "core" } as const]) {
      expect(() => protection.check("/usr/bin/node", "change", caller)).toThrow(/it needs the role admin/);
    }
    expect(protection.check("/srv/x", "change", agent)).toEqual([]);
    for (const path of ["/var/lib/aios/ledger/ledger.db", "/proc/sys/kernel/pid_max", "/dev/sda", "/", "/var/lib"]) {
      expect(() => protection.check(path, "change", admin), path).toThrow(/is protected/);
    }
    expect(protection.check("/dev/shm/x", "change", agent)).toEqual([]);
    for (const path of ["/dev/shm", "/tmp", "/home"]) {
      expect(() => protection.check(path, "change", agent), path).toThrow(/is protected/);
      expect(protection.check(`${path}/x`, "change", agent)).toEqual([]);
    }
  });

  it("with a star hold back a folder above them only where something fits", async () => {
    const protection = await openProtection(folders, systemClock);
    expect(protection.check("/home/nobody-of-this-name", "change", agent)).toEqual([]);
    expect(() => protection.check("/etc/passwd-", "change", agent)).toThrow(/is protected/);
    expect(() => protection.check("/home/bob/.ssh/x", "change", agent)).toThrow(/is protected/);
    expect(protection.check("/etc/nginx/passwd", "change", agent)).toEqual([]);
  });

  it("say what they hold and what a change breaks", () => {
    for (const { paths, holds, breaks } of protectedPlaces(folders)) {
      for (const path of paths) expect(path).toMatch(/^\/\S+$/);
      expect({ holds, breaks }).toEqual({
        holds: expect.stringMatching(/\S/),
        breaks: expect.stringMatching(/\S/),
      });
    }
  });
});

describe("the names of a folder", () => {
  const mount = (device: string, root: string, path: string): Mount => ({
    ...{ device, root, path },
    ...{ type: "ext4", source: "", options: [] },
  });
  const all = [
    mount("0:1", "/", "/"),
    mount("8:5", "/", "/mnt/data"),
    mount("8:5", "/state", "/var/lib/aios"),
    mount("8:5", "/home", "/home"),
    mount("8:5", "/", "/srv/again"),
    mount("8:5", "/state/ledger", "/srv/ledger"),
    mount("0:1", "/etc", "/srv/a b"),
  ];

  it.each([
    ["/var/lib/aios/x", ["/mnt/data/state/x", "/srv/again/state/x"]],
    ["/var/lib/aios", ["/mnt/data/state", "/srv/again/state", "/srv/ledger"]],
    ["/var/lib/aios/ledger/key", ["/mnt/data/state/ledger/key", "/srv/again/state/ledger/key", "/srv/ledger/key"]],
    ["/etc/aios", ["/srv/a b/aios"]],
    ["/usr", []],
    ["/home/*/.ssh", ["/mnt/data/home/*/.ssh", "/srv/again/home/*/.ssh"]],
  ])("are those by which it is reached: %s", (path, others) => {
    expect(namesOf(path, all)).toEqual([path, ...others]);
  });
});
