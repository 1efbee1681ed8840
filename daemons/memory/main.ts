import { effectiveConfig } from "#lib/config/effective";
import { runDaemon } from "#lib/daemon";
import { restartSoon } from "#lib/data/watchful";
import { confined } from "#lib/linux/confinement";
import { connect } from "#lib/rpc/client";
import { layout } from "#manifest";
import { AIRuntimeService } from "#proto/aios/runtime";
import { held } from "#reach";
import { runtimeText } from "./longterm/index.ts";
import { openTiers } from "./memory.ts";
import { loadedModels } from "./models.ts";
import { snapshotReader } from "./snapshot.ts";
import { checkApart, checkCommand, runCheck } from "./store/index.ts";
import { type Hold, spawnChroma, superviseChroma, untilQuiet, watchRemoteChroma } from "./vectors/index.ts";

const [program = "", command, file] = process.argv.slice(1);
if (command === checkCommand && file !== undefined) process.exit(runCheck(file, console.log));

runDaemon("memory", process.env, ({ paths, clock, log, address }) => {
  const { memory: config } = effectiveConfig(paths.run);
  const load = snapshotReader(paths.state, clock);
  const settled = (signal: AbortSignal) => untilQuiet(load.cpuPercent, clock, signal);
  // The filters are on the machine only.
  const hold: Hold = (words) =>
    paths.run === layout.run
      ? confined(words, { ...held["memory-vectors"], writes: [config.vector_db] }, paths.run)
      : [...words];
  const chroma = {
    spawn: (file: string) =>
      spawnChroma(`${paths.lib}/node_modules/chromadb/dist/cli.mjs`, config.vector_db, file, hold),
    configFile: `${config.vector_db}/server.yaml`,
    dataFolder: `${config.vector_db}/data`,
    ...{ settled, clock, log },
  };
  const runtime = connect(AIRuntimeService, address("runtime"));
  const text = runtimeText(address("runtime"));
  const tiers = openTiers({
    files: config,
    entriesMax: config.operational_max_entries,
    vectors: config.vector_url === undefined ? superviseChroma(chroma) : watchRemoteChroma(config.vector_url, chroma),
    runtime: text,
    loadedModels: loadedModels(runtime),
    shelfFile: `${paths.lib}/knowledge.db`,
    load: load.read,
    check: checkApart([process.execPath, ...process.execArgv, program]),
    residentBytes: () => process.memoryUsage.rss(),
    restart: restartSoon,
    ...{ settled, clock, log },
  });
  return {
    services: tiers.services,
    async close() {
      await tiers.close();
      runtime.close();
      text.close();
    },
  };
});
