import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { connect } from "#lib/client";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import { createServer, listen } from "#lib/server";
import { coreIdentity } from "#lib/service";
import { EventJournalService } from "#proto/aios/journal";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryAdminService } from "#proto/aios/memory_admin";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { memoryAdminService } from "./admin/service.ts";
import type { Vectors } from "./chroma.ts";
import { openJournal } from "./journal/journal.ts";
import { journalService } from "./journal/service.ts";
import { openArchive } from "./longterm/archive.ts";
import type { RuntimeText } from "./longterm/runtime-text.ts";
import { openTier } from "./longterm/tier.ts";
import { type Document, openLongterm } from "./longterm.ts";
import { openOperational } from "./operational.ts";
import { memoryQueryService, memoryService } from "./service.ts";
import { loadReader } from "./snapshot.ts";
import { checkHere, openBackups } from "./store/backup.ts";
import { keepUp } from "./store/upkeep.ts";
import { openStores, startEvents, watchful } from "./stores.ts";
import { openWorking } from "./working/working.ts";

export const start = Date.UTC(2026, 10, 21);
export const entriesMax = 50;

/** A runtime that does not answer. */
export const awayRuntime: RuntimeText = {
  embed: () => Promise.reject(new AiosError("UNAVAILABLE", "the runtime is away")),
  countTokens: () => Promise.reject(new AiosError("UNAVAILABLE", "the runtime is away")),
  close: () => {},
};

interface World {
  readonly vectors?: Vectors;
  readonly runtime?: RuntimeText;
  readonly shelfFile?: string;
}

/** The whole of the memory on a real socket, for tests; its folder outlives it, so that it can be opened again. */
export async function openMemory(folder: string, clock = new ManualClock(start), world: World = {}) {
  const restarts: string[] = [];
  const indexed: Document[] = [];
  const files = { working_db: join(folder, "memory/working.db"), longterm_db: join(folder, "memory/longterm.db") };
  const restart = (reason: string) => void restarts.push(reason);
  const stores = openStores(files, { clock, log: silentLog, restart });
  const working = openWorking(stores.working, clock);
  const earlier = working.events(clock.now() - 3_600_000, entriesMax);
  const operational = openOperational(entriesMax, earlier, clock, working.metrics.last());
  for (const event of startEvents(stores, clock.now())) operational.push(event);
  const journal = openJournal(stores.journal, clock);
  const archive = openArchive(stores.longterm);
  const longterm = openLongterm(stores.longterm, (document) => {
    indexed.push(document);
    archive.index(document);
  });
  const backups = openBackups({ folder: stores.backups, stores: stores.all, check: checkHere, clock, log: silentLog });
  const upkeep = keepUp({
    stores: stores.all,
    backups,
    prune: working.prune,
    vacuumFile: stores.vacuumFile,
    clock,
    log: silentLog,
  });
  const vectorStatus = { ready: false, detail: "not yet", pid: 0 };
  const noVectors = { status: () => vectorStatus, suspect: () => {}, onReady: () => {}, stop: async () => {} };
  const { vectors = noVectors, runtime = awayRuntime, shelfFile = join(folder, "none") } = world;
  // The runtime is asked for an embedding by the tests of that alone.
  const settled = () => new Promise<void>(() => {});
  const search = openTier({ archive, vectors, runtime, shelfFile, settled, clock, log: silentLog });
  const load = loadReader(folder).read;
  const parts = { operational, working, longterm, search, vectors, load, loadedModels: async () => ["tiny"], clock };
  const residentBytes = () => process.memoryUsage.rss();
  const administration = { stores: stores.all, operational, journal, backups, upkeep, clock, residentBytes, restart };
  const services = [
    watchful(memoryService(parts), stores),
    watchful(memoryQueryService(parts), stores),
    watchful(memoryAdminService(administration), stores),
    watchful(journalService(journal), stores),
  ];
  const server = createServer(services, () => coreIdentity, silentLog);
  const socket = mkdtempSync("/tmp/aios-memory-socket-");
  await listen(server, { path: `${socket}/memory.sock`, identity: coreIdentity, mode: 0o600 });
  const target = `unix:${socket}/memory.sock`;
  const memory = connect(MemoryServiceService, target);
  const query = connect(MemoryQueryService, target);
  const admin = connect(MemoryAdminService, target);
  const events = connect(EventJournalService, target);
  return {
    clock,
    target,
    stores,
    working,
    search,
    memory,
    query,
    admin,
    journal: events,
    vectorStatus,
    /** Why the daemon was to start again. */
    restarts,
    /** What the search was told. */
    indexed,
    async close() {
      for (const client of [memory, query, admin, events]) client.close();
      server.forceShutdown();
      await upkeep.stop();
      await working.metrics.close();
      await search.stop();
      stores.close();
      rmSync(socket, { recursive: true });
    },
  };
}

export type OpenMemory = Awaited<ReturnType<typeof openMemory>>;

export const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
