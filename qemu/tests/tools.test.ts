import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Machine } from "../machine.ts";
import { aiosctlFor } from "./aiosctl.ts";
import { laneRuns, useFleet } from "./fleet.ts";

const httpd = ["/usr/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8000", "-h", "/srv/site"];

/** Every namespace by one tool at least: its input, and what it gives back or why it cannot on a bare machine. */
const reads: readonly (readonly [tool: string, input: object, output: unknown])[] = [
  [
    "fs.list",
    { path: "/etc/aios" },
    { entries: expect.arrayContaining([expect.objectContaining({ name: "agents" })]) },
  ],
  ["process.list", {}, { total: expect.any(Number) }],
  ["service.list", {}, { services: expect.arrayContaining([expect.objectContaining({ name: "tools" })]) }],
  ["net.interfaces", {}, { interfaces: expect.arrayContaining([expect.objectContaining({ name: "lo" })]) }],
  ["net.check_port", { host: "127.0.0.1", port: 9090 }, { open: true }],
  ["firewall.rules", {}, { rules: [], management: expect.objectContaining({ port: 9090 }) }],
  ["pkg.info", { name: "busybox-static" }, { installed: expect.any(String) }],
  ["sec.verify_ledger", {}, { valid: true, problems: [] }],
  ["monitor.memory", {}, { total_mb: expect.any(Number) }],
  ["hw.info", {}, { cores: expect.any(Number) }],
  ["storage.usage", {}, {}],
  ["backup.list", {}, { backups: [] }],
  ["config.get", { key: "network.management_port" }, { value: 9090 }],
  ["alert.list", {}, { alerts: expect.anything() }],
  ["self.health", {}, {}],
  ["web.http_request", { url: "http://127.0.0.1:8000/page.txt" }, { status: 200, body: "hello\n" }],
  ["git.log", { path: "/srv/repository" }, { commits: [] }],
];

/** Changes that a rollback takes back, and a read that tells the one state from the other. */
const changes: readonly (readonly [tool: string, input: object, probe: readonly [tool: string, input: object]])[] = [
  ["fs.append", { path: "/srv/site/page.txt", content: "again\n" }, ["fs.read", { path: "/srv/site/page.txt" }]],
  ["config.set", { key: "system.log_level", value: "debug" }, ["config.get", { key: "system.log_level" }]],
  ["firewall.deny", { protocol: "tcp", port: 4444, reason: "a test" }, ["firewall.rules", {}]],
  ["service.stop", { name: "site" }, ["service.status", { name: "site" }]],
  ["alert.raise", { severity: "warning", title: "a test" }, ["alert.list", {}]],
  ["git.add", { path: "/srv/repository" }, ["git.status", { path: "/srv/repository" }]],
  ["backup.create", { path: "/srv/site" }, ["backup.list", {}]],
  ["storage.mount", { path: "/srv/memory", type: "tmpfs", size_mb: 8 }, ["storage.usage", {}]],
  [
    "sec.grant",
    { agent_id: "task", capabilities: ["hw:read"], reason: "a test", duration_seconds: 60 },
    ["sec.capabilities", { agent_id: "task" }],
  ],
];

describe.runIf(laneRuns("native"))("an operator with aiosctl", () => {
  const fleet = useFleet();
  let machine: Machine;

  const aiosctl = (...argv: string[]) => aiosctlFor(machine, fleet.operatorFolder)(...argv);
  /** Calls a tool, which must succeed: its result, its execution's id and its entry in the ledger. */
  const call = async (tool: string, input: object) => {
    const { code, out, error } = await aiosctl("tool", "call", tool, JSON.stringify(input), "--json");
    expect({ tool, code, error: code === 0 ? "" : `${out}${error}` }).toEqual({ tool, code: 0, error: "" });
    const { executionId, output, ledger } = JSON.parse(out);
    expect(ledger).toMatchObject({ execution_id: executionId, tool, state: "done", caller_kind: "operator" });
    expect(ledger.hash).toMatch(/^[0-9a-f]{64}$/);
    return { executionId: String(executionId), output, sequence: Number(ledger.sequence) };
  };
  const made = async (tool: string, input: object) => (await call(tool, input)).output;

  it("sees result, execution and ledger entry of a call, and takes it back", async () => {
    machine = await fleet.boot({ lane: "native", name: "tools" });
    const input = JSON.stringify({ path: "/srv/site/page.txt", content: "hello\n" });
    const { code, out, error } = await aiosctl("tool", "call", "fs.write", input);
    expect({ code, out }).toEqual({ code: 0, out: '{\n  "bytes_written": 6\n}\n' });
    const [, id = ""] = /^execution ([0-9a-f-]{36}), .*; aiosctl rollback \1 takes it back$/m.exec(error) ?? [];
    expect(error).toMatch(/^ledger entry \d+, done, [0-9a-f]{64}$/m);
    expect(await aiosctl("rollback", id)).toMatchObject({ code: 0, out: "rolled back\n" });
    expect((await aiosctl("tool", "call", "fs.read", '{"path":"/srv/site/page.txt"}')).code).toBe(1);
    expect(await aiosctl("rollback", id)).toMatchObject({ code: 1, error: expect.stringContaining("already") });
    const shown = await aiosctl("audit", "--tool", "fs.write", "--json");
    expect(JSON.parse(shown.out.trim())).toMatchObject({ execution_id: id, state: "done" });
  }, 300_000);

  it("runs every namespace", async () => {
    await made("fs.write", { path: "/srv/site/page.txt", content: "hello\n" });
    await made("fs.mkdir", { path: "/srv/memory", recursive: true });
    await made("service.define", { name: "site", argv: httpd, ready_port: 8000 });
    expect(await made("service.start", { name: "site" })).toMatchObject({ ready: true });
    await made("git.init", { path: "/srv/repository" });
    await made("fs.write", { path: "/srv/repository/file", content: "new\n" });
    const ran: string[] = [];
    for (const [tool, input, output] of reads) {
      expect(await made(tool, input), tool).toMatchObject(output as object);
      ran.push(tool);
    }
    // Podman is for those who want it: how containers do with it is another test's matter.
    const containers = await aiosctl("tool", "call", "container.list");
    expect(containers).toMatchObject({ code: 1, out: expect.stringContaining("install it with pkg.install") });
    expect(containers.error).toMatch(/^ledger entry \d+, failed, /m);
    ran.push("container.list");
    const { tools } = JSON.parse((await aiosctl("tools", "--json")).out);
    const namespaceOf = (tool: string) => tool.split(".")[0];
    const all = new Set(tools.map(({ name }: { name: string }) => namespaceOf(name)));
    expect(new Set(ran.map(namespaceOf))).toEqual(all);
  }, 300_000);

  it.each(changes)(
    "%s is taken back by a rollback",
    async (tool, input, [probe, about]) => {
      const look = async () =>
        JSON.stringify(await made(probe, about)).replaceAll(
          /"(packets|bytes|pid|uptime|restarts|[a-z]+_bytes|[a-z]+_percent|files_[a-z_]+)":[\d.]+/g,
          "",
        );
      const before = await look();
      const { executionId } = await call(tool, input);
      expect(await look()).not.toBe(before);
      expect(await aiosctl("rollback", executionId)).toMatchObject({ code: 0, out: "rolled back\n" });
      expect(await look()).toBe(before);
    },
    120_000,
  );

  it("has agents that hold no right over the machine, and no way into it but their sockets", () => {
    const agents = machine.processes().filter(({ argv }) => argv.some((word) => word.endsWith("/agents.cjs")));
    expect(agents).toHaveLength(8);
    const held = agents.map(({ hostPid }) => {
      const status = readFileSync(`/proc/${hostPid}/status`, "utf8");
      return Object.fromEntries(
        [...status.matchAll(/^(Uid|NoNewPrivs|Seccomp|Cap\w+):\s+(\w+)/gm)].map((found) => found.slice(1)),
      );
    });
    const none = "0".repeat(16);
    const nothing = { CapInh: none, CapPrm: none, CapEff: none, CapBnd: none, CapAmb: none };
    for (const one of held) expect(one).toMatchObject({ NoNewPrivs: "1", Seccomp: "2", ...nothing });
    expect(new Set(held.map(({ Uid }) => Uid)).size).toBe(8);
    expect(held.map(({ Uid }) => Uid)).not.toContain("0");
  });

  it("runs a program, waits for it and reads what it said", async () => {
    const { output } = await call("process.spawn", {
      command: "/usr/bin/busybox",
      args: ["echo", "said"],
      sandbox: true,
    });
    expect(await made("process.wait", { pid: output.pid })).toMatchObject({
      running: false,
      exit_code: 0,
      stdout: "said\n",
    });
  }, 60_000);

  it("verifies the ledger, and nothing waits for him", async () => {
    expect(await aiosctl("audit", "verify")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^right: \d+ entries/),
    });
    expect(await aiosctl("approvals")).toMatchObject({ code: 0, out: "nothing waits\n" });
  }, 60_000);
});
