import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity } from "#lib/rpc/service";
import { EventJournalService } from "#proto/aios/journal";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryAdminService } from "#proto/aios/memory_admin";
import { MemoryQueryService } from "#proto/aios/memory_query";
import type { RuntimeText } from "../longterm/runtime-text.ts";
import { openTiers } from "../memory.ts";
import { snapshotReader } from "../snapshot.ts";
import { checkHere } from "../store/backup.ts";
import type { Vectors } from "../vectors/chroma.ts";

export const start = Date.UTC(2026, 10, 21);
export const entriesMax = 50;

/** A runtime that does not answer. */
export const awayRuntime: RuntimeText = {
  embed: () => Promise.reject(new AiosError("UNAVAILABLE", "the runtime is away")),
  countTokens: () => Promise.reject(new AiosError("UNAVAILABLE", "the runtime is away")),
  close: () => {},
};

interface Twins {
  readonly vectors?: Vectors;
  readonly runtime?: RuntimeText;
  readonly shelfFile?: string;
}

/** The whole of the memory on a real socket, for tests; its folder outlives it, so that it can be opened again. */
export async function openMemory(folder: string, clock = new ManualClock(start), twins: Twins = {}) {
  const restarts: string[] = [];
  const vectorStatus = { ready: false, detail: "not yet", pid: 0 };
  const noVectors = { status: () => vectorStatus, suspect: () => {}, onReady: () => {}, stop: async () => {} };
  const tiers = openTiers({
    files: { working_db: join(folder, "memory/working.db"), longterm_db: join(folder, "memory/longterm.db") },
    entriesMax,
    vectors: twins.vectors ?? noVectors,
    runtime: twins.runtime ?? awayRuntime,
    loadedModels: async () => ["tiny"],
    shelfFile: twins.shelfFile ?? join(folder, "none"),
    // The runtime is asked for an embedding by the tests of that alone.
    settled: () => new Promise<void>(() => {}),
    load: snapshotReader(folder, clock).read,
    check: checkHere,
    residentBytes: () => process.memoryUsage.rss(),
    restart: (reason) => void restarts.push(reason),
    clock,
    log: silentLog,
  });
  const server = createServer(tiers.services(), () => coreIdentity("orchestrator"), silentLog);
  const socket = mkdtempSync("/tmp/aios-memory-socket-");
  await listen(server, { path: `${socket}/memory.sock`, identity: coreIdentity("orchestrator"), mode: 0o600 });
  const target = `unix:${socket}/memory.sock`;
  const memory = connect(MemoryServiceService, target);
  const query = connect(MemoryQueryService, target);
  const admin = connect(MemoryAdminService, target);
  const journal = connect(EventJournalService, target);
  return {
    ...tiers,
    ...{ clock, target, memory, query, admin, journal, vectorStatus },
    /** Why the daemon was to start again. */
    restarts,
    async close() {
      for (const client of [memory, query, admin, journal]) client.close();
      server.forceShutdown();
      await tiers.close();
      rmSync(socket, { recursive: true });
    },
  };
}

export type OpenMemory = Awaited<ReturnType<typeof openMemory>>;

export const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
