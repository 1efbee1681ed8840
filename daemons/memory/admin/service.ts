import { statSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { type Service, service } from "#lib/rpc/service";
import { type BackupChunk, MemoryAdminService, MemoryStats, StoreStats } from "#proto/aios/memory_admin";
import { checked, refuse } from "../check.ts";
import type { Journal } from "../journal/index.ts";
import type { Operational } from "../operational.ts";
import type { Backup, Backups, Store, Upkeep } from "../store/index.ts";
import { archiveOf } from "./archive.ts";
import { exportRecords, kindNames } from "./export.ts";
import { tableSizes } from "./tables.ts";

interface Administration {
  readonly stores: readonly Store[];
  readonly operational: Operational;
  readonly journal: Journal;
  readonly backups: Backups;
  readonly upkeep: Upkeep;
  readonly clock: Clock;
  /** Bytes of memory that this process takes. */
  readonly residentBytes: () => number;
  /** Ends the daemon once its answers are out, so that it is started again. */
  readonly restart: (reason: string) => void;
}

/** Records of an export between which other calls have their turn. */
const exportedAtOnce = 200;

/** aios.memory.MemoryAdmin: statistics, backups, export. */
export function memoryAdminService(parts: Administration): Service<typeof MemoryAdminService> {
  const { backups, stores, restart, clock } = parts;
  const startedAt = clock.monotonic();
  return service(MemoryAdminService, {
    getStats: () => statsOf(parts, clock.monotonic() - startedAt),
    backup: async () => infoOf(await backups.make()),
    listBackups: () => ({ backups: backups.list().map(infoOf) }),
    restore: ({ name }) => {
      const backup = backups.stage(name);
      restart(`restore backup ${backup.name}`);
      return { restored: infoOf(backup) };
    },
    restoreFrom: async (chunks) => {
      const backup = await backups.receive(dataOf(chunks));
      restart("restore an archive");
      return { restored: infoOf(backup) };
    },
    readBackup: async function* ({ name }) {
      const backup = backups.find(name);
      for await (const data of archiveOf(backup, (file) => statSync(file).size)) yield { data };
    },
    export: async function* (request) {
      const { kinds, since } = checked("export", request);
      for (const kind of kinds)
        if (!kindNames.includes(kind)) refuse("export", "kinds", `there is no ${kind}, only ${kindNames.join(", ")}`);
      let given = 0;
      for (const { kind, json } of exportRecords(stores, kinds, since)) {
        yield { kind, recordJson: Buffer.from(json) };
        if (++given % exportedAtOnce === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    },
  });
}

async function* dataOf(chunks: AsyncIterable<BackupChunk>): AsyncGenerator<Uint8Array> {
  for await (const { data } of chunks) yield data;
}

function infoOf({ name, createdAt, bytes, stores }: Backup) {
  return { name, createdAt, bytes, stores: [...stores] };
}

function statsOf(parts: Administration, uptimeMs: number): MemoryStats {
  const { operational, journal, stores, backups, upkeep } = parts;
  const { events, bytes, metrics, watchers } = operational.size();
  const all = backups.list();
  return MemoryStats.fromPartial({
    operationalEvents: events,
    operationalBytes: bytes,
    metrics,
    eventWatchers: watchers,
    journalSubscribers: journal.subscribers(),
    residentBytes: parts.residentBytes(),
    uptimeMs: Math.round(uptimeMs),
    stores: stores.map((store) => {
      const { file, wal, free } = store.sizes();
      const backup = all.find((one) => one.stores.includes(store.name));
      return StoreStats.fromPartial({
        name: store.name,
        ...store.state(),
        ...store.counts(),
        fileBytes: file,
        walBytes: wal,
        freeBytes: free,
        schemaVersion: store.database.pragma("user_version", { simple: true }) as number,
        lastBackupAt: backup?.createdAt ?? 0,
        lastVacuumAt: upkeep.lastVacuumAt(),
        tables: tableSizes(store.database),
      });
    }),
  });
}
