import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { connect } from "#lib/rpc/client";
import { openPeer } from "#lib/testing/sockets";
import { daemons } from "#manifest";
import { ExecuteRequest, ToolRegistryService } from "#proto/aios/tools";
import { HealthService, HealthCheckResponse_ServingStatus as Status } from "#proto/grpc/health/v1/health";
import { daemonSocket } from "../daemon-socket.ts";

/** Something that acts when it is called, as a process of its own. */
export interface Caller {
  readonly acts: readonly string[];
  /** Throws when the act failed. */
  call(act: string, input: object): Promise<void>;
  readonly pid?: number | undefined;
  /** Verifies the whole ledger. */
  verify?(): Promise<{ readonly entries: number; readonly ms: number }>;
  close(): Promise<void>;
}

const startTimeoutMs = 60_000;

/** The tools daemon as it ships, its state in `folder`. */
export async function startTools(repository: string, folder: string): Promise<Caller> {
  const paths = { run: join(folder, "run"), state: join(folder, "state"), etc: join(folder, "etc") };
  for (const path of [`${paths.run}/agents`, `${paths.state}/ledger`, `${paths.etc}/security`])
    mkdirSync(path, { recursive: true });
  copyFileSync(join(repository, "rootfs/etc/aios/security/policy.toml"), `${paths.etc}/security/policy.toml`);
  writeFileSync(`${paths.run}/config.json`, JSON.stringify({ system: { autonomy_level: "full" } }));
  const env = {
    AIOS_RUN_DIR: paths.run,
    AIOS_STATE_DIR: paths.state,
    AIOS_ETC_DIR: paths.etc,
    AIOS_LOG_LEVEL: "error",
    // As init starts it.
    UV_THREADPOOL_SIZE: `${daemons.find(({ name }) => name === "tools")?.diskThreads ?? 4}`,
  };
  const socket = daemonSocket(repository, paths.run, "tools");
  // The head of the ledger is told there.
  openPeer(paths.run, "tools", "console");
  return overGrpc(join(repository, "daemons/tools/main.ts"), [], env, socket);
}

/** The same acts by handlers that do nothing else. */
export async function startBare(repository: string, folder: string): Promise<Caller> {
  const socket = join(folder, "bare.sock");
  return overGrpc(join(repository, "qemu/bench/bare.ts"), [socket], {}, socket);
}

async function overGrpc(program: string, words: readonly string[], env: object, socket: string): Promise<Caller> {
  const child = spawn(process.execPath, [program, ...words], {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  await serving(socket, child);
  const client = connect(ToolRegistryService, `unix:${socket}`);
  const execute = async (toolName: string, input: object, timeoutMs = 60_000) => {
    const inputJson = Buffer.from(JSON.stringify(input));
    const answer = await client.execute(ExecuteRequest.fromPartial({ toolName, inputJson }), { timeoutMs });
    if (!answer.success) throw new Error(`${toolName}: ${answer.error}`);
    return answer;
  };
  return {
    acts: ["fs.read", "fs.write", "monitor.cpu"],
    call: async (act, input) => void (await execute(act, input)),
    pid: child.pid,
    verify: async () => {
      const { outputJson, durationMs } = await execute("sec.verify_ledger", { full: true }, 600_000);
      const { valid, entries } = JSON.parse(outputJson.toString()) as { valid: boolean; entries: number };
      if (!valid) throw new Error("the ledger is not right");
      return { entries, ms: durationMs };
    },
    close: async () => {
      client.close();
      await end(child);
    },
  };
}

async function serving(socket: string, child: ChildProcess): Promise<void> {
  const health = connect(HealthService, `unix:${socket}`);
  const until = performance.now() + startTimeoutMs;
  try {
    for (;;) {
      const answer = await health.check({ service: "" }, { timeoutMs: 1_000 }).catch(() => undefined);
      if (answer?.status === Status.SERVING) return;
      if (child.exitCode !== null || performance.now() > until) throw new Error(`nothing answers at ${socket}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    health.close();
  }
}

/** @modelcontextprotocol/server-filesystem over its stdio transport: JSON-RPC, one message a line. */
export async function startFileServer(folder: string): Promise<Caller> {
  const name = "@modelcontextprotocol/server-filesystem";
  const program = join(dirname(fileURLToPath(import.meta.resolve(`${name}/package.json`))), "dist/index.js");
  const child = spawn(process.execPath, [program, folder], { stdio: ["pipe", "pipe", "ignore"] });
  const waiting = new Map<number, (answer: { result?: { isError?: boolean }; error?: { message: string } }) => void>();
  createInterface(child.stdout).on("line", (line) => {
    const answer = JSON.parse(line);
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  let last = 0;
  const ask = async (method: string, params: object) => {
    const id = ++last;
    const answer = await new Promise<{ result?: { isError?: boolean }; error?: { message: string } }>((resolve) => {
      waiting.set(id, resolve);
      child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
    });
    if (answer.error !== undefined || answer.result?.isError) throw new Error(`${name}: ${JSON.stringify(answer)}`);
  };
  const clientInfo = { name: "aios-bench", version: "1" };
  await ask("initialize", { protocolVersion: "2025-06-18", capabilities: {}, clientInfo });
  child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" })}\n`);
  const names: Readonly<Record<string, string>> = { "fs.read": "read_text_file", "fs.write": "write_file" };
  return {
    acts: Object.keys(names),
    call: (act, input) => ask("tools/call", { name: names[act], arguments: input }),
    pid: child.pid,
    close: () => end(child),
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
