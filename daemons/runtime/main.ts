import { spawn } from "node:child_process";
import { runDaemon } from "#lib/daemon";
import { effectiveConfig } from "#lib/effective";
import { openRuntime } from "./runtime.ts";
import { runtimeService } from "./service.ts";
import { keepLoaded } from "./slot.ts";

await runDaemon("runtime", process.env, ({ paths, clock, log }) => {
  const { models } = effectiveConfig(paths.run);
  const pool = keepLoaded({
    file: models.operational.name,
    folders: [models.model_dir, "/usr/share/aios/models"],
    bindingFolder: `${paths.lib}/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64`,
    // One thread in libuv's pool: decoding and sampling would hop between several, at half the speed.
    spawn: () =>
      spawn(process.execPath, [`${paths.lib}/runtime-worker.mjs`], {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        env: { UV_THREADPOOL_SIZE: "1" },
      }),
    maxTokens: models.operational.max_tokens,
    temperature: models.operational.temperature,
    clock,
    log,
  });
  const runtime = openRuntime(pool, clock);
  return { services: () => [runtimeService(runtime)], ready: runtime.ready, close: () => runtime.stop() };
});
