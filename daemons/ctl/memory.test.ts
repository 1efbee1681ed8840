import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AiosError } from "#lib/errors";
import { service } from "#lib/rpc/service";
import { BackupInfo, MemoryAdminService, MemoryStats, StoreStats } from "#proto/aios/memory_admin";
import { init, openTwin, type Twin } from "./testing/twins.ts";

let twin: Twin;
beforeEach(async () => {
  twin = openTwin();
  await twin.daemon("init", init());
});
afterEach(() => twin.close());

const at = Date.UTC(2026, 10, 21, 9, 15, 2);
const backup = BackupInfo.fromPartial({
  name: "2026-11-21T09-15-02-000Z",
  createdAt: at,
  bytes: 12_345_678,
  stores: ["journal", "working"],
});

/** A memory that has been asked these things; it is away for a moment after a restore. */
function memory(asked: unknown[] = [], broken = false) {
  let [away, restored] = [0, false];
  return service(MemoryAdminService, {
    getStats: () => {
      if (away-- > 0) throw new AiosError("UNAVAILABLE", "starting");
      return MemoryStats.fromPartial({
        ...{ operationalEvents: 7, operationalBytes: 1_200, metrics: 3, residentBytes: 90_000_000, uptimeMs: 61_000 },
        stores: [
          StoreStats.fromPartial({
            ...{ name: "working", state: restored ? "restored" : "ok", fileBytes: 4_096_000, schemaVersion: 2 },
            detail: restored ? "as asked" : "",
            lastBackupAt: at,
            tables: [{ name: "goals", rows: 100_000, more: true }],
          }),
        ],
      });
    },
    backup: () => backup,
    listBackups: () => ({ backups: [backup] }),
    restore: ({ name }) => {
      asked.push(name);
      [away, restored] = [1, true];
      return { restored: backup };
    },
    restoreFrom: async (chunks) => {
      const pieces: Buffer[] = [];
      for await (const { data } of chunks) pieces.push(data);
      asked.push(Buffer.concat(pieces));
      [away, restored] = [1, true];
      return { restored: backup };
    },
    readBackup: async function* () {
      yield { data: Buffer.from("one ") };
      if (broken) throw new AiosError("DATA_LOSS", "the disk");
      yield { data: Buffer.from("two") };
    },
    export: async function* (request) {
      asked.push(request);
      yield { kind: "goals", recordJson: Buffer.from('{"id":"g","f":1.0}') };
    },
  });
}

it("tells how the stores are", async () => {
  await twin.daemon("memory", memory());
  const { code, out } = await twin.aiosctl("memory", "stats");
  expect(code).toBe(0);
  expect(out).toMatch("events 7 (1.2 kB), metrics 3");
  expect(out).toMatch(/working +ok +4.1 MB .*2026-11-21 09:15:02/);
  expect(out).toMatch(/working +goals +100000\+/);
  expect(JSON.parse((await twin.aiosctl("memory", "stats", "--json")).out)).toMatchObject({
    stores: [{ name: "working" }],
  });
});

it("backs up, here and to a file, whole or not at all", async () => {
  const daemon = await twin.daemon("memory", memory());
  expect((await twin.aiosctl("memory", "backups")).out).toMatch(/2026-11-21T09-15-02-000Z .*12.3 MB +journal working/);
  const file = join(twin.folder, "..", "memory.tar");
  const { code, out } = await twin.aiosctl("memory", "backup", "--to", file, "--json");
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ name: backup.name, file });
  expect(readFileSync(file, "utf8")).toBe("one two");
  daemon.stop();
  await twin.daemon("memory", memory([], true));
  const other = join(twin.folder, "..", "other.tar");
  expect(await twin.aiosctl("memory", "backup", "--to", other)).toMatchObject({
    code: 1,
    error: expect.stringContaining("the disk"),
  });
  expect(existsSync(other) || existsSync(`${other}.part`)).toBe(false);
});

it("restores only when that is meant, and waits until memory answers again", async () => {
  const asked: unknown[] = [];
  await twin.daemon("memory", memory(asked));
  expect(await twin.aiosctl("memory", "restore")).toMatchObject({ code: 2, error: expect.stringContaining("--yes") });
  expect(asked).toEqual([]);
  const { code, out } = await twin.aiosctl("memory", "restore", "--yes");
  expect(code).toBe(0);
  expect(out).toMatch("restored 2026-11-21T09-15-02-000Z: 1 store working\nworking: restored, as asked");
  expect(asked).toEqual([""]);
});

it("restores from a file, whole, and says of one that cannot be read that it cannot", async () => {
  const asked: unknown[] = [];
  await twin.daemon("memory", memory(asked));
  const folder = mkdtempSync("/tmp/aios-restore-");
  try {
    const file = join(folder, "memory.tar");
    const content = randomBytes(700_001);
    writeFileSync(file, content);
    const from = (...argv: string[]) => twin.aiosctl("memory", "restore", "--from", ...argv);
    expect(await from(file)).toMatchObject({ code: 2, error: expect.stringContaining("--yes") });
    expect(await from(file, "other", "--yes")).toMatchObject({ code: 2, error: expect.stringContaining("not both") });
    const { code, error } = await from(`${file}.none`, "--yes");
    expect([code, asked]).toEqual([1, []]);
    expect(error).toMatch(/memory.tar.none/);
    expect((await from(file, "--yes")).code).toBe(0);
    expect(asked).toEqual([content]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("exports as lines of JSON, to the digit", async () => {
  const asked: unknown[] = [];
  await twin.daemon("memory", memory(asked));
  const { out, error } = await twin.aiosctl("memory", "export", "goals", "--since", "2026-11-21T00:00Z");
  expect(out).toBe('{"kind":"goals","record":{"id":"g","f":1.0}}\n');
  expect(error).toBe("1 record\n");
  expect(asked).toEqual([{ kinds: ["goals"], since: Date.UTC(2026, 10, 21) }]);
  expect((await twin.aiosctl("memory", "export", "--json")).out).toBe('{"kind":"goals","record":{"id":"g","f":1}}\n');
});
