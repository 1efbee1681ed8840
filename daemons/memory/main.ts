import { connect } from "#lib/client";
import { runDaemon } from "#lib/daemon";
import { effectiveConfig } from "#lib/effective";
import { AIRuntimeService } from "#proto/aios/runtime";
import { superviseChroma, watchRemoteChroma } from "./chroma.ts";
import { spawnChroma, untilQuiet } from "./chroma-process.ts";
import { loadedModels } from "./models.ts";
import { openOperational } from "./operational.ts";
import { keepPruned } from "./prune.ts";
import { memoryQueryService, memoryService } from "./service.ts";
import { loadReader } from "./snapshot.ts";
import { openWorking } from "./working.ts";

await runDaemon("memory", process.env, ({ paths, clock, log, address }) => {
  const { memory: config } = effectiveConfig(paths.run);
  const working = openWorking(config.working_db);
  const entriesMax = config.operational_max_entries;
  const operational = openOperational(entriesMax, working.events(clock.now() - 3_600_000, entriesMax), clock);
  const load = loadReader(paths.state);
  const settled = (signal: AbortSignal) => untilQuiet(load.cpuPercent, clock, signal);
  const vectors =
    config.vector_url === undefined
      ? superviseChroma({
          spawn: (configFile) =>
            spawnChroma(`${paths.lib}/node_modules/chromadb/dist/cli.mjs`, config.vector_db, configFile),
          configFile: `${config.vector_db}/server.yaml`,
          dataFolder: `${config.vector_db}/data`,
          settled,
          clock,
          log,
        })
      : watchRemoteChroma(config.vector_url, { settled, clock, log });
  const pruning = keepPruned(working, clock, log);
  const runtime = connect(AIRuntimeService, address("runtime"));
  const memory = { operational, working, vectors, load: load.read, loadedModels: loadedModels(runtime), clock };
  return {
    services: () => [memoryService(memory), memoryQueryService(memory)],
    async close() {
      pruning.abort();
      runtime.close();
      await vectors.stop();
      working.close();
    },
  };
});
