import { cpSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { noteOf } from "./entry.ts";
import { type Ledger, openLedger } from "./ledger.ts";
import { segmentEntriesMax } from "./segment.ts";

const dayMs = 86_400_000;
const { signal } = new AbortController();
let clock: ManualClock;
let folder: string;
let ledger: Ledger;

const files = () => ({ told: `${folder}/told.json`, kept: `${folder}/kept.json` });
const open = () => openLedger(`${folder}/ledger`, clock, silentLog, files());
/** What the console does. */
const see = () => cpSync(files().told, files().kept);

beforeEach(() => {
  clock = new ManualClock(Date.UTC(2026, 0, 30, 12));
  folder = mkdtempSync("/tmp/aios-prune-");
  mkdirSync(`${folder}/ledger`);
  ledger = open();
});
afterEach(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

const note = (id: string) =>
  noteOf({ kind: "refusal", executionId: id, caller: "task", tool: "fs.write", input: "x".repeat(500) });

async function days(count: number, each = 10): Promise<void> {
  for (let day = 0; day < count; day += 1) {
    await Promise.all(Array.from({ length: each }, (_, at) => ledger.append(note(`${clock.now()}-${at}`))));
    await clock.advance(dayMs);
  }
}

const keep = (ageDays: number, bytesMax = Number.MAX_SAFE_INTEGER) => ({ ageMs: ageDays * dayMs, bytesMax });
const pruned = () => ledger.export(0, Number.MAX_SAFE_INTEGER).entries.filter(({ kind }) => kind === "pruned");

describe("what is older than it is kept", () => {
  it("is deleted a segment at a time, says so, and the rest is right, also after a restart", async () => {
    await days(6);
    expect(await ledger.prune(keep(4), signal)).toBe(20);
    expect(await ledger.prune(keep(4), signal)).toBe(0);
    const { base, entries } = ledger.export(0, Number.MAX_SAFE_INTEGER);
    expect(base).toMatchObject({ sequence: 20 });
    expect(entries[0]).toMatchObject({ sequence: 21, previous: base.hash });
    expect(JSON.parse(String(pruned()[0]?.["output"]))).toMatchObject({ segment: 2, last: 20, hash: base.hash });
    for (const full of [true, false, true]) {
      expect(await ledger.verify(signal, full)).toMatchObject({ valid: true, entries: 41, problems: [] });
      ledger.close();
      ledger = open();
    }
    await days(1);
    expect((await ledger.verify(signal, true)).valid).toBe(true);
  });

  it("goes two segments at a time: a clock that is wrong for an hour does not cost the ledger", async () => {
    await days(9);
    await clock.advance(4_000 * dayMs);
    expect(await ledger.prune(keep(180), signal)).toBe(20);
    expect((await ledger.verify(signal)).valid).toBe(true);
  });

  it("is not deleted while the console has not seen it", async () => {
    await days(2);
    ledger.close();
    see();
    ledger = open();
    await days(4);
    expect(await ledger.prune(keep(1), signal)).toBe(20);
    expect(await ledger.prune(keep(1), signal)).toBe(0);
    expect((await ledger.verify(signal)).valid).toBe(true);
  });
});

describe("a ledger that is too large", () => {
  it("loses its oldest segments, and its file shrinks", async () => {
    await days(8, 400);
    ledger.close();
    ledger = open();
    const before = statSync(`${folder}/ledger/ledger.db`).size;
    await ledger.prune(keep(9_999, before / 2), signal);
    expect(await ledger.verify(signal, true)).toMatchObject({ valid: true });
    ledger.close();
    expect(statSync(`${folder}/ledger/ledger.db`).size).toBeLessThan(before * 0.6);
    ledger = open();
    expect((await ledger.verify(signal, true)).valid).toBe(true);
  });

  it("keeps the segment that is open", async () => {
    await days(1);
    expect(await ledger.prune(keep(0, 0), signal)).toBe(0);
  });

  it("has segments that end within a day", async () => {
    const burst = Array.from({ length: segmentEntriesMax + 5 }, (_, at) => note(`${at}`));
    for (let at = 0; at < burst.length; at += 4_000)
      await Promise.all(burst.slice(at, at + 4_000).map((one) => ledger.append(one)));
    expect(await ledger.prune(keep(9_999, 0), signal)).toBe(segmentEntriesMax);
    expect(await ledger.verify(signal, true)).toMatchObject({ valid: true, entries: 6 });
  });
});

describe("who meddles with what was pruned", () => {
  const meddle = (sql: string) => {
    ledger.close();
    const database = new Database(`${folder}/ledger/ledger.db`);
    database.exec(sql);
    database.close();
    ledger = open();
  };

  it.each([
    [
      "says that more was pruned",
      "DELETE FROM entry WHERE sequence <= 40; DELETE FROM segment WHERE number <= 4; UPDATE base SET number = 4, last = 40",
    ],
    ["takes the record away", "DELETE FROM base"],
    ["deletes without a record", "DELETE FROM entry WHERE sequence <= 30; DELETE FROM segment WHERE number <= 3"],
  ])("and %s is found out", async (_, sql) => {
    await days(6);
    await ledger.prune(keep(4), signal);
    meddle(sql);
    expect((await ledger.verify(signal)).problems.length).toBeGreaterThan(0);
  });
});
