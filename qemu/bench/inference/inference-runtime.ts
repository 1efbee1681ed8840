import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { AIRuntimeService, InferRequest, type InferStatistics, type ModelStatus } from "#proto/aios/runtime";
import { HealthService, HealthCheckResponse_ServingStatus as Status } from "#proto/grpc/health/v1/health";
import { daemonSocket } from "../daemon-socket.ts";

/** The runtime daemon as it ships, with one model, over its socket. */
export interface RunningRuntime {
  readonly client: Client<typeof AIRuntimeService>;
  readonly daemon: ChildProcess;
  /** Threads that it has chosen for the model, time of loading, sequences; as it says itself. */
  model(): Promise<ModelStatus>;
  /** Waits until the runtime has measured with how many threads the model is fastest, which it does once nobody asks. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

const startTimeoutMs = 60_000;
const tuneTimeoutMs = 20_000;

/** Starts the runtime with its folders in `folder`, answering with the model at `modelPath`. */
export async function startRuntime(repository: string, folder: string, modelPath: string): Promise<RunningRuntime> {
  const at = (name: string) => join(folder, name);
  for (const name of ["run/agents", "lib", "state/models", "state/runtime", "etc"])
    mkdirSync(at(name), { recursive: true });
  placeModel(modelPath, at(`state/models/${basename(modelPath)}`));
  const operational = { name: basename(modelPath), always_loaded: true, max_tokens: 256, temperature: 0.8 };
  const models = { runtime: "llama-cpp", model_dir: at("state/models"), operational };
  writeFileSync(at("run/config.json"), JSON.stringify({ models }));
  writeFileSync(
    at("lib/runtime-worker.cjs"),
    `require(${JSON.stringify(join(repository, "daemons/runtime/worker/worker.ts"))});`,
  );
  symlinkSync(join(repository, "node_modules"), at("lib/node_modules"));
  const env = {
    AIOS_RUN_DIR: at("run"),
    AIOS_STATE_DIR: at("state"),
    AIOS_ETC_DIR: at("etc"),
    AIOS_LIB_DIR: at("lib"),
    AIOS_LOG_LEVEL: "error",
  };
  const socket = daemonSocket(repository, at("run"), "runtime");
  const program = join(repository, "daemons/runtime/main.ts");
  const daemon = spawn(process.execPath, [program], { env, stdio: ["ignore", "ignore", "inherit"] });
  await serving(socket, daemon);
  const client = connect(AIRuntimeService, `unix:${socket}`);
  return {
    client,
    daemon,
    async model() {
      const { models } = await client.listModels({});
      const model = models.find(({ status }) => status === "ready");
      if (model === undefined) throw new Error("the runtime has no model that is ready");
      return model;
    },
    settled: () => threadsMeasured(at("state/runtime/threads.json")),
    async close() {
      client.close();
      if (daemon.exitCode !== null || daemon.signalCode !== null) return;
      const ended = once(daemon, "exit");
      daemon.kill("SIGTERM");
      await ended;
    },
  };
}

function placeModel(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

async function threadsMeasured(file: string): Promise<void> {
  const until = performance.now() + tuneTimeoutMs;
  while (!existsSync(file) && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 200));
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

/** What a caller sees of one answer. */
interface Streamed {
  readonly firstTokenMs: number;
  readonly answerTokens: number;
  /** From the first text to the last. */
  readonly answerMs: number;
  readonly statistics: InferStatistics;
}

/** One call of StreamInfer, timed by its caller. */
export async function stream(
  client: Client<typeof AIRuntimeService>,
  fields: Partial<InferRequest>,
): Promise<Streamed> {
  const begun = performance.now();
  let first = 0;
  let last = 0;
  for await (const { done, statistics } of client.streamInfer(InferRequest.fromPartial(fields))) {
    if (done && statistics !== undefined) {
      const { answerTokens } = statistics;
      return { firstTokenMs: (first || performance.now()) - begun, answerTokens, answerMs: last - first, statistics };
    }
    last = performance.now();
    if (first === 0) first = last;
  }
  throw new Error("the stream ended without its statistics");
}

export function residentMb(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return (Number(kib) * 1024) / 1_000_000;
}
