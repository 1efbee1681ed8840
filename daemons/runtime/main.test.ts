import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connect } from "#lib/client";
import { systemClock } from "#lib/clock";
import { HealthService, HealthCheckResponse_ServingStatus as Status } from "#proto/grpc/health/v1/health";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let folder: string;
let daemon: ChildProcess;
let exited: Promise<unknown>;

/** The daemon itself, as the machine runs it, but for its folders. */
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-runtime-main-");
  for (const name of ["run", "lib", "models"]) mkdirSync(join(folder, name));
  const operational = { name: "tiny.gguf", always_loaded: true, max_tokens: 16, temperature: 0.1 };
  const models = { model_dir: join(folder, "models"), operational };
  writeFileSync(join(folder, "run/config.json"), JSON.stringify({ models }));
  writeFileSync(join(folder, "lib/runtime-worker.mjs"), `import ${JSON.stringify(here("worker.ts"))};`);
  symlinkSync(here("../../node_modules"), join(folder, "lib/node_modules"));
  const env = {
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

async function health(): Promise<Status | undefined> {
  const client = connect(HealthService, `unix:${join(folder, "run/runtime.sock")}`);
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
