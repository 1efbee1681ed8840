import { connect } from "#lib/client";
import { runDaemon } from "#lib/daemon";
import { effectiveConfig } from "#lib/effective";
import { AIRuntimeService } from "#proto/aios/runtime";
import { memoryAdminService } from "./admin/service.ts";
import { superviseChroma, watchRemoteChroma } from "./chroma.ts";
import { spawnChroma, untilQuiet } from "./chroma-process.ts";
import { openJournal } from "./journal/journal.ts";
import { journalService } from "./journal/service.ts";
import { openArchive } from "./longterm/archive.ts";
import { runtimeText } from "./longterm/runtime-text.ts";
import { openTier } from "./longterm/tier.ts";
import { openLongterm } from "./longterm.ts";
import { loadedModels } from "./models.ts";
import { openOperational } from "./operational.ts";
import { memoryQueryService, memoryService } from "./service.ts";
import { loadReader } from "./snapshot.ts";
import { openBackups } from "./store/backup.ts";
import { checkApart, checkCommand, runCheck } from "./store/check.ts";
import { keepUp } from "./store/upkeep.ts";
import { openStores, startEvents, watchful } from "./stores.ts";
import { openWorking } from "./working/working.ts";

const [program = "", command, file] = process.argv.slice(1);
if (command === checkCommand && file !== undefined) process.exit(runCheck(file, console.log));

await runDaemon("memory", process.env, ({ paths, clock, log, address }) => {
  const { memory: config } = effectiveConfig(paths.run);
  // After the answers in flight are out; init starts it again.
  const restart = () => void setTimeout(() => process.kill(process.pid, "SIGTERM"), 50);
  const stores = openStores(config, { clock, log, restart });
  const working = openWorking(stores.working, clock);
  const entriesMax = config.operational_max_entries;
  const events = working.events(clock.now() - 3_600_000, entriesMax);
  const operational = openOperational(entriesMax, events, clock, working.metrics.last());
  for (const event of startEvents(stores, clock.now())) operational.push(event);
  const journal = openJournal(stores.journal, clock);
  const archive = openArchive(stores.longterm);
  const longterm = openLongterm(stores.longterm, archive.index);
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
  const check = checkApart([process.execPath, ...process.execArgv, program]);
  const backups = openBackups({ folder: stores.backups, stores: stores.all, check, clock, log });
  const upkeep = keepUp({
    stores: stores.all,
    backups,
    prune: working.prune,
    vacuumFile: stores.vacuumFile,
    clock,
    log,
  });
  const runtime = connect(AIRuntimeService, address("runtime"));
  const text = runtimeText(address("runtime"));
  const shelfFile = `${paths.lib}/knowledge.db`;
  const search = openTier({ archive, vectors, runtime: text, shelfFile, settled, clock, log });
  const memory = {
    operational,
    working,
    longterm,
    search,
    vectors,
    load: load.read,
    loadedModels: loadedModels(runtime),
    clock,
  };
  const residentBytes = () => process.memoryUsage.rss();
  const administration = { stores: stores.all, operational, journal, backups, upkeep, clock, residentBytes, restart };
  return {
    services: () => [
      watchful(memoryService(memory), stores),
      watchful(memoryQueryService(memory), stores),
      watchful(memoryAdminService(administration), stores),
      watchful(journalService(journal), stores),
    ],
    async close() {
      await upkeep.stop();
      runtime.close();
      await search.stop();
      text.close();
      await vectors.stop();
      await working.metrics.close();
      stores.close();
    },
  };
});
