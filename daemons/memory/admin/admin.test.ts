import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { AppendRequest } from "#proto/aios/journal";
import {
  ConfigChange,
  Decision,
  Event,
  GoalRecord,
  Incident,
  Pattern,
  Procedure,
  TaskRecord,
} from "#proto/aios/memory";
import { workingMigrations } from "../store/migrations/migrations.ts";
import { openStore } from "../store/store.ts";
import { json, type OpenMemory, openMemory, start } from "../testing/harness.ts";

let folder: string;
let opened: OpenMemory;

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-admin-");
  opened = await openMemory(folder);
});
afterEach(async () => {
  await opened.close();
  rmSync(folder, { recursive: true });
});

/** Resolves once nothing has been written for a moment. */
async function quiet(): Promise<void> {
  const written = async () => (await opened.admin.getStats({})).stores.map(({ writes }) => writes).join();
  for (let before = ""; before !== (await written()); ) {
    before = await written();
    await systemClock.sleep(200);
  }
}

async function fill(): Promise<void> {
  const { memory, journal } = opened;
  await memory.storeGoal(GoalRecord.fromPartial({ id: "g", status: "pending", metadataJson: json({ tags: ["a"] }) }));
  await memory.storeTask(TaskRecord.fromPartial({ id: "t", goalId: "g", status: "pending" }));
  await memory.storeDecision(Decision.fromPartial({ id: "d", chosen: "x", context: "the disk is full" }));
  await memory.storePattern(Pattern.fromPartial({ id: "p", trigger: "disk full", action: "clean" }));
  await memory.storeProcedure(Procedure.fromPartial({ id: "r", name: "clean", tags: ["disk"], stepsJson: json([]) }));
  await memory.storeIncident(Incident.fromPartial({ id: "i", description: "it was full" }));
  await memory.storeConfigChange(ConfigChange.fromPartial({ id: "c", filePath: "/etc/x", content: "y" }));
  await memory.pushEvent(Event.fromPartial({ id: "e", category: "error", source: "disk", critical: true }));
  const record = { event_id: "j", session_id: "s", branch_id: "main", timestamp: "2026-11-21T04:30:00Z" };
  const event = Buffer.from(`${JSON.stringify(record).slice(0, -1)},"kind":{"type":"X","f":1.0}}`);
  await journal.append(AppendRequest.fromPartial({ sessionId: "s", eventsJson: [event] }));
}

it("counts what there is", async () => {
  await fill();
  const stats = await opened.admin.getStats({});
  expect(stats).toMatchObject({ operationalEvents: 1, metrics: 0, journalSubscribers: 0 });
  expect(stats.residentBytes).toBeGreaterThan(10_000_000);
  const [working, journal, longterm] = stats.stores;
  expect(working).toMatchObject({
    name: "working",
    state: "new",
    writes: 5,
    lastBackupAt: 0,
    schemaVersion: workingMigrations.length,
  });
  expect(working?.tables).toContainEqual({ name: "goals", rows: 1, more: false });
  expect(journal?.tables).toContainEqual({ name: "journal", rows: 1, more: false });
  expect(longterm?.tables).toContainEqual({ name: "procedures", rows: 1, more: false });
  for (const [collection, id] of [
    ["decisions", "d"],
    ["procedures", "r"],
    ["incidents", "i"],
    ["config_changes", "c"],
  ] as const) {
    expect(opened.archive.record(collection, id)).toMatchObject({ storedAt: start });
  }
});

describe("an export", () => {
  const lines = async (kinds: string[] = [], since = 0) => {
    const found: [string, Record<string, unknown>][] = [];
    for await (const { kind, recordJson } of opened.admin.export({ kinds, since }))
      found.push([kind, JSON.parse(recordJson.toString())]);
    return found;
  };

  it("has every record of every kind, JSON as JSON", async () => {
    await fill();
    const all = await lines();
    expect(all.map(([kind]) => kind)).toEqual([
      ...["goals", "tasks", "decisions", "patterns", "events", "procedures", "incidents", "config_changes", "sessions"],
      "journal",
    ]);
    expect(all[0]?.[1]).toMatchObject({ id: "g", metadata: { tags: ["a"] }, created_at: start });
    expect(all[1]?.[1]).toMatchObject({ id: "t", goal_id: "g", input: null });
    for await (const { recordJson } of opened.admin.export({ kinds: ["journal"], since: 0 }))
      expect(recordJson.toString()).toContain(
        '"sequence":1,"timestamp":"2026-11-21T04:30:00Z","kind":{"type":"X","f":1.0}',
      );
  });

  it("goes page by page through many, and takes kinds and an age", async () => {
    const many = Array.from({ length: 1_001 }, (_, at) => `g${String(at).padStart(4, "0")}`);
    await Promise.all(
      many.map((id, at) =>
        opened.memory.storeGoal(GoalRecord.fromPartial({ id, status: "pending", createdAt: start - at })),
      ),
    );
    expect((await lines(["goals"])).map(([, { id }]) => id)).toEqual(many);
    expect(await lines(["goals"], start - 10)).toHaveLength(11);
    await expect(lines(["secrets"])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("kinds"),
    });
    await expect(lines([], 1_763_700_000)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("a backup", () => {
  it("is made, listed, read as an archive that tar knows, and restored by a new start", async () => {
    await fill();
    const made = await opened.admin.backup({});
    expect(made).toMatchObject({
      name: "2026-11-21T00-00-00-000Z",
      createdAt: start,
      stores: ["journal", "longterm", "working"],
    });
    expect((await opened.admin.listBackups({})).backups).toEqual([made]);
    const chunks: Buffer[] = [];
    for await (const { data } of opened.admin.readBackup({ name: "" })) chunks.push(data);
    const archive = join(folder, "backup.tar");
    writeFileSync(archive, Buffer.concat(chunks));
    execFileSync("tar", ["-xf", archive, "-C", folder]);
    const outside = { backups: folder, clock: opened.clock, log: silentLog, restart: () => {} };
    const copy = openStore({
      name: "working",
      path: join(folder, made.name, "working.db"),
      ...outside,
      migrations: workingMigrations,
    });
    expect(copy.database.prepare("SELECT id FROM goals").pluck().all()).toEqual(["g"]);
    copy.close();

    await opened.memory.storeGoal(GoalRecord.fromPartial({ id: "later", status: "pending" }));
    expect((await opened.admin.restore({ name: "" })).restored).toEqual(made);
    expect(opened.restarts).toEqual([`restore backup ${made.name}`]);
    await opened.close();
    opened = await openMemory(folder);
    expect((await opened.memory.getActiveGoals({})).goals.map(({ id }) => id)).toEqual(["g"]);
    const { events } = await opened.memory.getRecentEvents({ count: 0, category: "error", source: "memory" });
    expect(events.map(({ dataJson }) => JSON.parse(dataJson.toString()).state)).toEqual(Array(3).fill("restored"));
    const { stores } = await opened.admin.getStats({});
    expect(stores.map(({ state, lastBackupAt }) => [state, lastBackupAt])).toEqual(Array(3).fill(["restored", start]));
    await expect(opened.admin.restore({ name: "none" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("is made by itself a while after the start, and again after a day in which something was written", async () => {
    await fill();
    // What was stored is followed by writes of the memory's own: they come before the backup, however slow the machine is.
    await opened.clock.advance(599_000);
    await quiet();
    await opened.clock.advance(1_000);
    await expect.poll(async () => (await opened.admin.listBackups({})).backups.length).toBe(1);
    for (let hour = 0; hour < 30; hour++) await opened.clock.advance(3_600_000);
    await systemClock.sleep(500); // for a backup that should not be made
    expect((await opened.admin.listBackups({})).backups).toHaveLength(1);
    await opened.memory.storeGoal(GoalRecord.fromPartial({ id: "later", status: "pending", createdAt: start }));
    await opened.clock.advance(3_600_000);
    await expect.poll(async () => (await opened.admin.listBackups({})).backups.length).toBe(2);
  });
});

it("gives free pages back once a week, over restarts too", async () => {
  const vacuumed = async () => {
    await opened.clock.advance(3_600_000);
    return (await opened.admin.getStats({})).stores.map(({ lastVacuumAt }) => lastVacuumAt);
  };
  await expect.poll(vacuumed).not.toContain(0);
  const [first = 0] = await vacuumed();
  await opened.close();
  opened = await openMemory(folder, opened.clock);
  expect(await vacuumed()).toEqual([first, first, first]);
  const id = (at: number) => `d${String(at).padStart(3, "0")}`;
  const reasoning = "x".repeat(10_000);
  await Promise.all(
    Array.from({ length: 100 }, (_, at) =>
      opened.memory.storeDecision(Decision.fromPartial({ id: id(at), chosen: "x", reasoning, timestamp: start })),
    ),
  );
  await opened.clock.advance(31 * 24 * 3_600_000);
  await expect.poll(async () => (await vacuumed())[0]).toBeGreaterThan(first);
  await expect
    .poll(async () => {
      await opened.clock.advance(7 * 24 * 3_600_000);
      return (await opened.admin.getStats({})).stores[0]?.freeBytes;
    })
    .toBe(0);
});

it("a damaged store makes the caller's call fail with DATA_LOSS and the daemon start again", async () => {
  await fill();
  const { database } = opened.stores.working;
  database.unsafeMode(true);
  database.pragma("writable_schema = ON");
  database.exec("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'goals_created'");
  database.pragma("writable_schema = RESET");
  await expect(opened.memory.getActiveGoals({})).rejects.toMatchObject({ code: "DATA_LOSS" });
  expect(opened.restarts.length).toBeGreaterThan(0);
});

describe("an archive of another machine", () => {
  const readAll = async () => {
    const chunks: Buffer[] = [];
    for await (const { data } of opened.admin.readBackup({ name: "" })) chunks.push(data);
    return Buffer.concat(chunks);
  };
  /** In pieces of a size that fits neither blocks nor files. */
  async function* pieces(archive: Buffer, fails = false) {
    for (let at = 0; at < archive.length; at += 100_003) yield { data: archive.subarray(at, at + 100_003) };
    if (fails) throw new Error("the caller went away");
  }
  const goal = (id: string, status: string) => opened.memory.storeGoal(GoalRecord.fromPartial({ id, status }));
  const goals = async () => {
    const all = await opened.query.listGoals({ status: "", limit: 100, cursor: "", offset: 0 });
    return all.goals.map(({ id, status }) => `${id} ${status}`).sort();
  };
  let archive: Buffer;

  beforeEach(async () => {
    await fill();
    for (const status of ["planning", "awaiting_input", "in_progress", "completed", "failed", "cancelled"])
      await goal(status, status);
    await opened.admin.backup({});
    archive = await readAll();
    await goal("later", "pending");
  });

  it("takes the place of all stores by a new start, its goals paused", async () => {
    await opened.close();
    rmSync(folder, { recursive: true });
    opened = await openMemory(folder);
    await goal("own", "pending");
    const { restored } = await opened.admin.restoreFrom(pieces(archive));
    expect(restored?.stores).toEqual(["journal", "longterm", "working"]);
    expect(opened.restarts).toEqual(["restore an archive"]);
    expect(await goals()).toEqual(["own pending"]);
    await opened.close();
    opened = await openMemory(folder);
    const paused = ["awaiting_input", "g", "in_progress", "planning"].map((id) => `${id} paused`);
    expect(await goals()).toEqual([...paused, "cancelled cancelled", "completed completed", "failed failed"].sort());
    expect((await opened.admin.getStats({})).stores.map(({ state }) => state)).toEqual(Array(3).fill("restored"));
  });

  it.each<[string, (whole: Buffer) => Buffer]>([
    ["empty", () => Buffer.alloc(0)],
    ["something else", () => Buffer.alloc(5_000, 7)],
    ["zeros", () => Buffer.alloc(4_096)],
    ["cut in a header", (whole) => whole.subarray(0, 300)],
    ["cut in the midst", (whole) => whole.subarray(0, whole.length >> 1)],
    ["cut at its end", (whole) => whole.subarray(0, -600)],
    ["longer than it is", (whole) => Buffer.concat([whole, Buffer.alloc(512, 1)])],
    ["damaged in a header", (whole) => Buffer.from(whole).fill(1, 20, 30)],
    ["damaged in a database", (whole) => Buffer.from(whole).fill(0xa5, 512 + 8_192, 512 + 16_384)],
  ])("that is %s is refused, and nothing is touched", async (_, harm) => {
    const before = await goals();
    await expect(opened.admin.restoreFrom(pieces(harm(archive)))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/restore the archive: .*nothing was changed/),
    });
    expect(opened.restarts).toEqual([]);
    await opened.close();
    opened = await openMemory(folder);
    expect(await goals()).toEqual(before);
    expect(readdirSync(folder, { recursive: true }).filter((name) => String(name).includes("incoming"))).toEqual([]);
  });

  it("that is cut off by its caller leaves what was there", async () => {
    const before = await goals();
    await expect(
      opened.admin.restoreFrom(pieces(archive.subarray(0, archive.length - 20_000), true)),
    ).rejects.toBeDefined();
    await opened.close();
    opened = await openMemory(folder);
    expect(await goals()).toEqual(before);
  });

  it("is taken whole though the start that takes it ends in the midst", async () => {
    await opened.admin.restoreFrom(pieces(archive));
    await opened.close();
    const working = join(folder, "memory/working.db");
    renameSync(join(folder, "memory/incoming/working.db"), working);
    for (const end of ["-wal", "-shm"]) rmSync(`${working}${end}`, { force: true });
    opened = await openMemory(folder);
    expect(await goals()).not.toContain("later pending");
    expect((await opened.admin.getStats({})).stores.map(({ state }) => state)).toEqual(["ok", "restored", "restored"]);
  });
});
