import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { connect } from "#lib/rpc/client";
import { compiled } from "#lib/testing/compiled";
import { openPeer } from "#lib/testing/sockets";
import { ToolRegistryService } from "#proto/aios/tools";
import { HealthCheckResponse_ServingStatus as Health, HealthService } from "#proto/grpc/health/v1/health";
import { noteCarried } from "./carried.ts";
import { type Answer, answerOf, requestOf } from "./harness.ts";

/**
 * For tests: the daemon as it ships in a network name space of its own, for tools that change the network. Its sockets are
 * files and reach out of there; nothing that it does to interfaces, routes and rules reaches the host.
 */
export interface NetworkMachine {
  readonly folder: string;
  call(tool: string, input?: object): Promise<Answer>;
  rollback(executionId: string): Promise<{ success: boolean; error: string }>;
  /** nsenter's words for going in there. */
  readonly inside: readonly string[];
  /** Runs a program in there and returns what it said. */
  run(program: string, ...args: string[]): Promise<string>;
  /** Ends the daemon and starts it again, in the same network. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

const run = promisify(execFile);

export async function startNetworkMachine(): Promise<NetworkMachine> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "aios-net-")));
  for (const name of ["state", "etc", "run/agents/task"]) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, "run/config.json"), JSON.stringify({ network: { allow_outbound: true } }));
  const { inside, close } = await openNetwork();
  const enter = async (program: string, ...args: string[]) =>
    (await run("nsenter", [...inside, program, ...args], { encoding: "utf8" })).stdout;
  await enter("ip", "link", "set", "lo", "up");

  let daemon = await startDaemon(folder, inside).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  const client = connect(ToolRegistryService, `unix:${openPeer(`${folder}/run`, "tools", "orchestrator")}`);
  return {
    folder,
    inside,
    call: async (tool, input = {}) => answerOf(await client.execute(requestOf(tool, input), { timeoutMs: 30_000 })),
    rollback: (executionId) => client.rollback({ executionId, reason: "a test" }),
    run: enter,
    restart: async () => {
      await end(daemon);
      daemon = await startDaemon(folder, inside);
    },
    close: async () => {
      client.close();
      await end(daemon);
      await close();
      noteCarried(join(folder, "state"));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A network of its own, empty until its end: a machine at the other end of a cable. */
export async function openNetwork(): Promise<{ pid: number; inside: readonly string[]; close(): Promise<void> }> {
  // Keeps the name space while daemons in it come and go.
  const keeper = spawn("unshare", ["--net", "sleep", "300"], { stdio: "ignore" });
  await once(keeper, "spawn");
  await untilApart(keeper);
  const pid = keeper.pid ?? 0;
  return { pid, inside: ["--target", String(pid), "--net", "--"], close: () => end(keeper) };
}

/** `unshare` is still in the host's name space for a moment after it was started. */
async function untilApart({ pid }: ChildProcess): Promise<void> {
  const host = await run("readlink", ["/proc/self/ns/net"]);
  for (let tries = 0; tries < 500; tries += 1) {
    const there = await run("readlink", [`/proc/${pid}/ns/net`]).catch(() => host);
    if (there.stdout !== host.stdout) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("unshare --net made no name space: are you root?");
}

async function startDaemon(folder: string, inside: readonly string[]): Promise<ChildProcess> {
  const env = {
    ...compiled,
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    AIOS_RUN_DIR: `${folder}/run`,
    AIOS_STATE_DIR: `${folder}/state`,
    AIOS_ETC_DIR: `${folder}/etc`,
    AIOS_LOG_LEVEL: "error",
  };
  openPeer(`${folder}/run`, "tools", "orchestrator");
  openPeer(`${folder}/run`, "tools", "console");
  const main = join(import.meta.dirname, "../main.ts");
  const daemon = spawn("nsenter", [...inside, process.execPath, main], { env, stdio: "ignore" });
  const health = connect(HealthService, `unix:${openPeer(`${folder}/run`, "tools", "orchestrator")}`);
  try {
    for (;;) {
      const state = await health.check({ service: "" }, { timeoutMs: 1_000 }).catch(() => undefined);
      if (state?.status === Health.SERVING) return daemon;
      if (daemon.exitCode !== null) throw new Error(`the daemon ended with ${daemon.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    health.close();
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
