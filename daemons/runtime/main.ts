import { execFile, spawn } from "node:child_process";
import { writeFile } from "node:fs";
import { effectiveConfig } from "#lib/config/effective";
import { runDaemon } from "#lib/daemon";
import { messageOf } from "#lib/errors";
import { confined } from "#lib/linux/confinement";
import { layout } from "#manifest";
import { held } from "#reach";
import { serveMetrics } from "./metrics-page.ts";
import { modelsOf } from "./model-calls.ts";
import { openMachinePool } from "./models/index.ts";
import { openRuntime } from "./questions/index.ts";
import { runtimeService } from "./service.ts";

runDaemon("runtime", process.env, ({ paths, clock, log }) => {
  const { models } = effectiveConfig(paths.run);
  const image = "/usr/share/aios";
  // CUDA's libraries lie where the builder put them; the driver's own are the system's.
  const env = { LD_LIBRARY_PATH: `${paths.lib}/cuda` };
  const hold = (name: "runtime-worker" | "runtime-probe", reads: readonly string[], ...words: readonly string[]) => {
    const free: [string, ...string[]] = [process.execPath, ...words];
    // The filters are on the machine only.
    return paths.run === layout.run ? confined(free, { ...held[name], reads }, paths.run) : free;
  };
  const pool = openMachinePool({
    models,
    places: {
      folder: models.model_dir,
      imageFolders: [`${image}/models`],
      imageManifest: `${image}/models.toml`,
    },
    stateFolder: `${paths.state}/runtime`,
    modules: `${paths.lib}/node_modules`,
    // One thread in libuv's pool: decoding and sampling would hop between several, at half the speed.
    spawnWorker: (modelPath) => {
      const [program, ...args] = hold("runtime-worker", [modelPath], `${paths.lib}/runtime-worker.cjs`);
      return spawn(program, args, {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        env: { ...env, UV_THREADPOOL_SIZE: "1" },
      });
    },
    spawnProbe: (folder) => {
      const [program, ...args] = hold("runtime-probe", [], `${paths.lib}/runtime-probe.mjs`, folder);
      return spawn(program, args, { stdio: ["ignore", "pipe", "ignore"], env });
    },
    limitMemory: (pid, bytes) => {
      // A worker is the first to go when memory runs out, and its model comes back by itself.
      writeFile(`/proc/${pid}/oom_score_adj`, "500", { flag: "r+" }, () => {});
      execFile("/usr/bin/prlimit", [`--pid=${pid}`, `--data=${Math.round(bytes)}`], () => {});
    },
    clock,
    log,
  });
  const runtime = openRuntime(pool, clock);
  const { metrics_port: port } = models;
  if (port !== undefined) {
    runtime.ready
      .then(() => serveMetrics(port, () => runtime.metrics()))
      .catch((error) => log.warn("no metrics page, continuing without one", { port, reason: messageOf(error) }));
  }
  return {
    services: () => [runtimeService(runtime, modelsOf(pool, clock))],
    ready: runtime.ready,
    close: () => runtime.stop(),
  };
});
