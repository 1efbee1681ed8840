import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { type Client, coreIdentity, type Identity } from "#lib/rpc/service";
import { compiled } from "#lib/testing/compiled";
import { AIRuntimeService } from "#proto/aios/runtime";
import { modelsOf } from "../model-calls.ts";
import { openMachinePool } from "../models/machine-pool.ts";
import { openRuntime, type Runtime } from "../questions/runtime.ts";
import { runtimeService } from "../service.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** A runtime over real sockets with real workers, for tests: `tiny` answers, `vectors` embeds, both the bring-up model. */
export interface Served {
  readonly runtime: Runtime;
  readonly client: Client<typeof AIRuntimeService>;
  /** The workers started so far, the newest last. */
  readonly workers: readonly ChildProcess[];
  readonly socket: string;
  /** A client whose socket says that it is someone else. */
  clientOf(identity: Identity): Promise<Client<typeof AIRuntimeService>>;
  close(): void;
}

const manifest = `
[[model]]
name = "tiny"
file = "tiny.gguf"
role = "operational"

[[model]]
name = "vectors"
file = "vectors.gguf"
role = "embedding"
`;

export async function serveRuntime(): Promise<Served> {
  const folder = mkdtempSync("/tmp/aios-served-");
  for (const name of ["models", "state"]) mkdirSync(join(folder, name));
  for (const name of ["tiny", "vectors"]) {
    execFileSync(process.execPath, [here("../../../image/model/write.ts"), join(folder, `models/${name}.gguf`)]);
  }
  writeFileSync(join(folder, "models/models.toml"), manifest);
  const workers: ChildProcess[] = [];
  const pool = openMachinePool({
    models: { operational: { name: "tiny.gguf", max_tokens: 64, temperature: 0.7 } },
    places: {
      folder: join(folder, "models"),
      imageFolders: [],
      imageManifest: join(folder, "nowhere/models.toml"),
    },
    stateFolder: join(folder, "state"),
    modules: here("../../../node_modules"),
    spawnProbe: () => spawn("false"),
    limitMemory: () => {},
    spawnWorker: () => {
      const child = spawn(process.execPath, [here("../worker/worker.ts")], {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        env: { ...compiled, UV_THREADPOOL_SIZE: "1" },
      });
      workers.push(child);
      return child;
    },
    clock: systemClock,
    log: silentLog,
  });
  const runtime = openRuntime(pool, systemClock);
  const ends: (() => void)[] = [];
  const serve = async (identity: Identity) => {
    const server = createServer([runtimeService(runtime, modelsOf(pool, systemClock))], () => identity, silentLog);
    const path = join(folder, `${identity.kind}-${identity.name}.sock`);
    await listen(server, { path, identity, mode: 0o600 });
    const client = connect(AIRuntimeService, `unix:${path}`);
    ends.push(() => {
      client.close();
      server.forceShutdown();
    });
    return { client, path };
  };
  const core = await serve(coreIdentity("orchestrator"));
  await runtime.ready;
  return {
    runtime,
    client: core.client,
    socket: core.path,
    workers,
    clientOf: async (identity) => (await serve(identity)).client,
    close() {
      for (const end of ends) end();
      runtime.stop();
      rmSync(folder, { recursive: true });
    },
  };
}
