import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import { mapErrors } from "#lib/rpc/map-errors";
import type { Service } from "#lib/rpc/service";
import { memoryAdminService } from "./admin/index.ts";
import { journalService, openJournal } from "./journal/index.ts";
import { openArchive, openLongterm, openTier, type RuntimeText } from "./longterm/index.ts";
import { openOperational } from "./operational.ts";
import { memoryQueryService, memoryService } from "./service.ts";
import type { Snapshot } from "./snapshot.ts";
import { type Check, keepUp, openBackups } from "./store/index.ts";
import { noticedBy, openStores, startEvents } from "./stores.ts";
import type { Vectors } from "./vectors/index.ts";
import { openWorking } from "./working/index.ts";

/** The parts of the memory and the world around it; tests pass twins. */
interface MemoryWorld {
  readonly files: { readonly working_db: string; readonly longterm_db: string };
  /** Events that the ring holds. */
  readonly entriesMax: number;
  readonly vectors: Vectors;
  readonly runtime: RuntimeText;
  readonly loadedModels: () => Promise<string[]>;
  /** The image's own knowledge. */
  readonly shelfFile: string;
  /** Resolves when the machine has time for what can wait. */
  readonly settled: (signal: AbortSignal) => Promise<void>;
  readonly load: () => Snapshot;
  readonly check: Check;
  readonly residentBytes: () => number;
  /** Ends the daemon once its answers are out, so that it is started again. */
  readonly restart: (reason: string) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** Events of the last hour that outlived a restart are in the ring again. */
const eventsOfMs = 3_600_000;

/** Opens the three tiers and the journal, and what serves them. */
export function openTiers(world: MemoryWorld) {
  const { clock, log, restart, vectors, runtime, shelfFile, settled, load, loadedModels, entriesMax } = world;
  const stores = openStores(world.files, { clock, log, restart });
  const working = openWorking(stores.working, clock);
  const earlier = working.events(clock.now() - eventsOfMs, entriesMax);
  const operational = openOperational(entriesMax, earlier, clock, working.metrics.last());
  for (const event of startEvents(stores, clock.now())) operational.push(event);
  const journal = openJournal(stores.journal, clock);
  const archive = openArchive(stores.longterm);
  const longterm = openLongterm(stores.longterm, archive.index);
  const search = openTier({ archive, vectors, runtime, shelfFile, settled, clock, log });
  const backups = openBackups({ folder: stores.backups, stores: stores.all, check: world.check, clock, log });
  const { vacuumFile, pruneFile, all } = stores;
  const upkeep = keepUp({ stores: all, backups, prune: working.prune, vacuumFile, pruneFile, clock, log });
  const memory = { operational, working, longterm, search, vectors, load, loadedModels, clock };
  const { residentBytes } = world;
  const administration = { stores: all, operational, journal, backups, upkeep, clock, residentBytes, restart };
  const noticed = noticedBy(stores);
  return {
    stores,
    working,
    archive,
    search,
    services: (): readonly Service[] => [
      mapErrors(memoryService(memory), noticed),
      mapErrors(memoryQueryService(memory), noticed),
      mapErrors(memoryAdminService(administration), noticed),
      mapErrors(journalService(journal), noticed),
    ],
    async close(): Promise<void> {
      await upkeep.stop();
      await search.stop();
      await vectors.stop();
      await working.metrics.close();
      stores.close();
    },
  };
}
