import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "#lib/rpc/client";
import { type Client, executionHeader, interruptedHeader } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { compiled } from "#lib/testing/compiled";
import { openPeer } from "#lib/testing/sockets";
import { ToolRegistryService } from "#proto/aios/tools";
import { HealthCheckResponse_ServingStatus as Health, HealthService } from "#proto/grpc/health/v1/health";
import { answerOf, requestOf } from "./testing/harness.ts";

/** The daemon as it ships, as a process that is killed. */
let folder: string;
let work: string;
let daemon: ChildProcess | undefined;
let core: Client<typeof ToolRegistryService>;

beforeEach(() => {
  folder = realpathSync(mkdtempSync("/tmp/aios-tools-process-"));
  work = `${folder}/work`;
  for (const name of ["work", "state", "run/agents/task"]) mkdirSync(`${folder}/${name}`, { recursive: true });
  for (const peer of ["orchestrator", "console"]) openPeer(`${folder}/run`, "tools", peer);
  core = connect(ToolRegistryService, `unix:${socketPath(`${folder}/run`, "tools", "orchestrator")}`);
});

afterEach(async () => {
  core.close();
  await kill();
  rmSync(folder, { recursive: true, force: true });
});

/** Starts the daemon by a shell script that ends in it (`"$0" "$@"`), within `around`, and waits until it is ready. */
async function start(script = 'exec "$0" "$@"', around: readonly string[] = []): Promise<void> {
  const env = {
    ...compiled,
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    AIOS_RUN_DIR: `${folder}/run`,
    AIOS_STATE_DIR: `${folder}/state`,
    AIOS_ETC_DIR: `${folder}/etc`,
    AIOS_LOG_LEVEL: "error",
  };
  const [program = "", ...words] = [
    ...around,
    "/bin/sh",
    "-c",
    script,
    process.execPath,
    `${import.meta.dirname}/main.ts`,
  ];
  // A process group of its own: whatever the script started ends with it.
  daemon = spawn(program, words, { env, stdio: "ignore", detached: true });
  await ready(() => true);
}

/** Waits until the daemon at the socket is ready, and `also` holds. */
async function ready(also: () => boolean): Promise<void> {
  const health = connect(HealthService, `unix:${socketPath(`${folder}/run`, "tools", "orchestrator")}`);
  try {
    for (;;) {
      const state = await health.check({ service: "" }, { timeoutMs: 1_000 }).catch(() => undefined);
      if (state?.status === Health.SERVING && also()) return;
      expect([daemon?.exitCode, daemon?.signalCode]).toEqual([null, null]);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    health.close();
  }
}

async function kill(signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
  if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return daemon?.exitCode ?? null;
  const ended = once(daemon, "exit");
  process.kill(-(daemon.pid ?? 0), signal);
  await ended;
  return daemon.exitCode;
}

const call = async (tool: string, input: object) => answerOf(await core.execute(requestOf(tool, input)));

describe("the daemon", () => {
  it("listens for the core and each agent, and ends in order", async () => {
    await start();
    expect(statSync(socketPath(`${folder}/run`, "tools", "orchestrator")).mode & 0o777).toBe(0o660);
    expect(statSync(`${folder}/run/agents/task/tools.sock`).mode & 0o777).toBe(0o600);
    const agent = connect(ToolRegistryService, `unix:${folder}/run/agents/task/tools.sock`);
    expect((await agent.listTools({ namespace: "" })).tools.length).toBeGreaterThan(10);
    await expect(agent.execute(requestOf("hw.info", {}))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    agent.close();
    expect(await kill("SIGTERM")).toBe(0);
  });

  it("killed between intent and outcome closes the execution as interrupted at its next start", async () => {
    // An init that takes calls and never answers.
    const init: Server = createServer(() => {}).listen(openPeer(`${folder}/run`, "init", "tools"));
    await start();
    const hanging = core.execute(requestOf("service.list", {})).catch((error) => error);
    while ((await call("sec.audit", { tool_name: "service.list" })).output.total === 0);
    await kill();
    expect(await hanging).toMatchObject({ code: "UNAVAILABLE" });
    init.close();
    await start();
    const { output } = await call("sec.audit", { tool_name: "service.list" });
    expect(output.entries).toMatchObject([{ state: "interrupted", error: expect.stringContaining("interrupted") }]);
    const told: (string | undefined)[] = [];
    const headers = { [executionHeader]: output.entries[0].execution_id };
    const onTold = (header: (name: string) => string | undefined) => told.push(header(interruptedHeader));
    expect(await core.execute(requestOf("service.list", {}), { headers, onTold })).toMatchObject({ success: false });
    expect(told).toContain("yes");
    expect((await call("sec.verify_ledger", {})).output).toMatchObject({ valid: true });
  });

  it("killed while it writes leaves whole files, a whole ledger, and executions that can be taken back", {
    timeout: 60_000,
  }, async () => {
    const content = (at: number) => `${at}`.repeat(50_000);
    const acknowledged: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      await start();
      const before = acknowledged.length;
      const writes = Array.from({ length: 40 }, async (_, at) => {
        const path = `${work}/${round}/${at % 10}/f${at}`;
        await call("fs.write", { path, content: content(at) });
        acknowledged.push(path);
        // In the middle of the others, at another point in each round.
        if (acknowledged.length - before === 1 + round * 10) await kill();
      });
      await Promise.allSettled(writes);
      await kill();
    }
    await start();
    expect(acknowledged.length).toBeGreaterThan(20);
    expect(acknowledged.filter((path) => !existsSync(path))).toEqual([]);
    const files = readdirSync(work, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    for (const { parentPath, name } of files) {
      expect(name).toMatch(/^f\d+$/);
      expect(readFileSync(`${parentPath}/${name}`, "utf8")).toBe(content(Number(name.slice(1))));
    }
    expect((await call("sec.verify_ledger", {})).output).toMatchObject({ valid: true, problems: [] });
    const { entries } = (await call("sec.audit", { tool_name: "fs.write", limit: 500 })).output;
    const interrupted = entries.filter(({ error }: { error: string }) => error.startsWith("interrupted"));
    expect(interrupted.length).toBeGreaterThan(0);
    for (const { state, execution_id: executionId } of entries) {
      expect(state).not.toBe("open");
      await core.rollback({ executionId, reason: "" }).catch(({ code }) => expect(code).toBe("FAILED_PRECONDITION"));
    }
    expect(readdirSync(work)).toEqual([]);
  });

  it.skipIf(process.getuid?.() !== 0)(
    "starts on a full disk, and carries nothing out that it cannot record",
    async () => {
      // A file system of its own, in a mount name space of its own: filled once the first daemon has ended.
      const script = [
        `mount -t tmpfs -o size=4m none ${folder}/state`,
        '"$0" "$@" &',
        "wait",
        `cat /dev/zero > ${folder}/state/filling`,
        'exec "$0" "$@"',
      ].join("\n");
      await start(script, ["unshare", "-m"]);
      expect(await call("fs.write", { path: `${work}/one`, content: "x" })).toMatchObject({ success: true });
      const [first] = readFileSync(`/proc/${daemon?.pid}/task/${daemon?.pid}/children`, "utf8").split(" ");
      process.kill(Number(first), "SIGTERM");
      await ready(() => !existsSync(`/proc/${first}`));
      expect((await core.listTools({ namespace: "fs" })).tools).toHaveLength(14);
      const refused = {
        code: "RESOURCE_EXHAUSTED",
        message: expect.stringContaining("free space on the data partition"),
      };
      await expect(call("fs.write", { path: `${work}/two`, content: "x" })).rejects.toMatchObject(refused);
      await expect(call("fs.read", { path: `${work}/one` })).rejects.toMatchObject(refused);
      expect(readdirSync(work)).toEqual(["one"]);
    },
  );

  it("on a full disk refuses, does nothing unrecorded, and goes on when there is room", {
    timeout: 60_000,
  }, async () => {
    // A limit on the length of files stands for the full disk: SQLite cannot grow its log.
    await start('ulimit -f 300 && exec "$0" "$@"');
    const done: string[] = [];
    let refused: unknown;
    for (let at = 0; refused === undefined && at < 500; at += 1) {
      const path = `${work}/${at}`;
      const answer = await call("fs.write", { path, content: "x" }).catch((error) => {
        refused = error;
      });
      if (answer?.success) done.push(`${at}`);
    }
    expect(refused).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining("the tools' records"),
    });
    await expect(call("fs.write", { path: `${work}/never`, content: "" })).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
    });
    expect(existsSync(`${work}/never`)).toBe(false);
    await kill();
    await start();
    expect(await call("fs.write", { path: `${work}/again`, content: "x" })).toMatchObject({ success: true });
    expect((await call("sec.verify_ledger", {})).output).toMatchObject({ valid: true, problems: [] });
    const { output } = await call("sec.audit", { tool_name: "fs.write", limit: 500 });
    expect(output.total).toBeGreaterThan(done.length);
  });
});
