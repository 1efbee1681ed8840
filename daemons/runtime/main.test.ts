import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { connect } from "#lib/rpc/client";
import { compiled } from "#lib/testing/compiled";
import { openPeer } from "#lib/testing/sockets";
import { AIRuntimeService, InferRequest } from "#proto/aios/runtime";
import { HealthService, HealthCheckResponse_ServingStatus as Status } from "#proto/grpc/health/v1/health";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let folder: string;
let metricsPort: number;
let daemon: ChildProcess;
let exited: Promise<unknown>;

/** The daemon itself, as the machine runs it, but for its folders. */
const socket = () => openPeer(join(folder, "run"), "runtime", "orchestrator");

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-runtime-main-");
  for (const name of ["run", "lib", "models"]) mkdirSync(join(folder, name));
  const operational = { name: "tiny.gguf", always_loaded: true, max_tokens: 16, temperature: 0.1 };
  metricsPort = await freePort();
  const models = { model_dir: join(folder, "models"), metrics_port: metricsPort, operational };
  writeFileSync(join(folder, "run/config.json"), JSON.stringify({ models }));
  socket();
  writeFileSync(join(folder, "lib/runtime-worker.cjs"), `require(${JSON.stringify(here("worker/worker.ts"))});`);
  symlinkSync(here("../../node_modules"), join(folder, "lib/node_modules"));
  const env = {
    ...compiled,
    AIOS_RUN_DIR: join(folder, "run"),
    AIOS_LIB_DIR: join(folder, "lib"),
    AIOS_STATE_DIR: join(folder, "state"),
  };
  daemon = spawn(process.execPath, [here("main.ts")], { env, stdio: ["ignore", "ignore", "ignore"] });
  exited = new Promise((resolve) => daemon.once("exit", resolve));
});
afterEach(async () => {
  daemon.kill("SIGKILL");
  await exited;
  rmSync(folder, { recursive: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function health(): Promise<Status | undefined> {
  const client = connect(HealthService, `unix:${socket()}`);
  try {
    return (await client.check({ service: "" })).status;
  } catch {
    return undefined;
  } finally {
    client.close();
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await systemClock.sleep(20);
}

const writeModel = () =>
  execFileSync(process.execPath, [here("../../image/model/write.ts"), join(folder, "models/tiny.gguf")]);

/** Processes of the worker program of this test; a zombie has no arguments. */
function workers(): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(join(folder, "lib/runtime-worker"))
      );
    } catch {
      return false;
    }
  });
}

it("stays up and not ready without a model, and is ready once there is one", async () => {
  await until(async () => (await health()) === Status.NOT_SERVING);
  await systemClock.sleep(500);
  expect(await health()).toBe(Status.NOT_SERVING);
  writeModel();
  await until(async () => (await health()) === Status.SERVING);
  expect(workers()).toHaveLength(1);
});

it.each(["SIGKILL", "SIGTERM"] as const)("leaves no worker behind after %s", async (signal) => {
  writeModel();
  await until(async () => (await health()) === Status.SERVING);
  daemon.kill(signal);
  await exited;
  expect(daemon.exitCode).toBe(signal === "SIGTERM" ? 0 : null);
  await until(() => workers().length === 0);
});

it("tells Prometheus of its models, on loopback alone", async () => {
  writeModel();
  await until(async () => (await health()) === Status.SERVING);
  const page = (path: string, method = "GET") => fetch(`http://127.0.0.1:${metricsPort}${path}`, { method });
  const tells = async () => (await page("/metrics").catch(() => undefined))?.ok ?? false;
  await until(tells);
  expect(await (await page("/metrics")).text()).toMatch(/^aios_runtime_model_ready\{model="tiny"\} 1$/m);
  for (const answer of [page("/"), page("/metrics", "POST")]) expect((await answer).status).toBe(404);
  const listening = readFileSync("/proc/net/tcp", "utf8").includes(
    `0100007F:${metricsPort.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 0A`,
  );
  expect(listening).toBe(true);
});

it("fails its callers at once when it is killed while it answers", async () => {
  writeModel();
  await until(async () => (await health()) === Status.SERVING);
  const client = connect(AIRuntimeService, `unix:${socket()}`);
  const jsonSchema = '{"type":"string","minLength":5000}';
  const request = InferRequest.fromPartial({ prompt: "go on", maxTokens: 900, jsonSchema });
  let killedAt = 0;
  const read = async () => {
    for await (const _ of client.streamInfer(request)) {
      killedAt ||= performance.now();
      daemon.kill("SIGKILL");
    }
  };
  await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(performance.now() - killedAt).toBeLessThan(10_000);
  client.close();
  await until(() => workers().length === 0);
});
