import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { Note } from "./entry.ts";
import { type Ledger, openLedger } from "./ledger.ts";

const dayMs = 86_400_000;
const { signal } = new AbortController();
let clock: ManualClock;
let folder: string;
let ledger: Ledger;

const files = () => ({ told: `${folder}/told.json`, kept: `${folder}/kept.json` });
const open = () => openLedger(`${folder}/ledger`, clock, silentLog, files());

beforeEach(() => {
  clock = new ManualClock(Date.UTC(2026, 0, 30, 12));
  folder = mkdtempSync("/tmp/aios-segments-");
  mkdirSync(`${folder}/ledger`);
  ledger = open();
});

afterEach(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

const refusal = (id: string): Note => ({
  ...{ kind: "refusal", executionId: id, callerKind: "agent", caller: "task", onBehalfOf: "", tool: "fs.write" },
  ...{ taskId: "", reason: "", input: "{}", output: "", success: null, error: "no", durationMs: null },
});

const fill = (count: number) =>
  Promise.all(Array.from({ length: count }, (_, at) => ledger.append(refusal(`${clock.now()}-${at}`))));

/** Ten entries on each of three days; the third is open. */
async function threeDays(): Promise<void> {
  await fill(10);
  await clock.advance(dayMs);
  await fill(10);
  await clock.advance(dayMs);
  await fill(10);
}

function meddle(sql: string, ...values: unknown[]): void {
  ledger.close();
  const database = new Database(`${folder}/ledger/ledger.db`);
  database.prepare(sql).run(...values);
  database.close();
  ledger = open();
}

function rows(): unknown[] {
  ledger.close();
  const database = new Database(`${folder}/ledger/ledger.db`);
  const found = database
    .prepare("SELECT number, day, first, last, verified IS NOT NULL AS verified FROM segment")
    .all();
  database.close();
  ledger = open();
  return found;
}

describe("segments", () => {
  it("are closed when the next day's first entry is written, and survive a restart", async () => {
    await threeDays();
    ledger.close();
    ledger = open();
    await clock.advance(dayMs);
    await fill(1);
    expect(rows()).toEqual([
      { number: 1, day: "2026-01-30", first: 1, last: 10, verified: 0 },
      { number: 2, day: "2026-01-31", first: 11, last: 20, verified: 0 },
      { number: 3, day: "2026-02-01", first: 21, last: 30, verified: 0 },
    ]);
    expect(await ledger.verify(signal)).toMatchObject({ valid: true, entries: 31, remembered: 0 });
  });

  it("go on when the clock was set back", async () => {
    await threeDays();
    ledger.close();
    clock = new ManualClock(Date.UTC(2026, 0, 1));
    ledger = open();
    await fill(1);
    expect(rows()).toHaveLength(2);
    expect(await ledger.verify(signal)).toMatchObject({ valid: true, entries: 31 });
  });

  it("are checked once, and again when all is to be checked", async () => {
    await threeDays();
    expect(await ledger.verify(signal)).toMatchObject({ entries: 30, remembered: 0 });
    expect(await ledger.verify(signal)).toMatchObject({ valid: true, entries: 30, remembered: 20 });
    ledger.close();
    ledger = open();
    expect(await ledger.verify(signal)).toMatchObject({ valid: true, remembered: 20 });
    expect(await ledger.verify(signal, true)).toMatchObject({ valid: true, remembered: 0 });
  });

  const problems = async (full = false) => (await ledger.verify(signal, full)).problems;

  it("that were found right before are read again when all is to be checked, so an edit in them is located", async () => {
    await threeDays();
    await ledger.verify(signal);
    meddle("UPDATE entry SET reason = 'better' WHERE sequence = 4");
    expect(await problems(true)).toEqual(["entry 4 was edited"]);
  });

  it("that lose their entries are missed without being read", async () => {
    await threeDays();
    await ledger.verify(signal);
    meddle("DELETE FROM entry WHERE sequence <= 10");
    expect(await problems()).toEqual(["segment 1 (2026-01-30) does not end with the entry it was closed with"]);
  });

  it.each([
    ["deleted", "DELETE FROM segment WHERE number = 1", "segment 1 was deleted"],
    ["edited", "UPDATE segment SET last = 9 WHERE number = 1", "segment 1 (2026-01-30) was edited"],
    ["marked as checked by somebody else", "UPDATE segment SET verified = zeroblob(64)", undefined],
  ])("%s are noticed", async (_, sql, problem) => {
    await threeDays();
    meddle(sql);
    meddle("UPDATE entry SET reason = 'better' WHERE sequence = 4");
    const found = await problems();
    expect(found).toContain("entry 4 was edited");
    if (problem !== undefined) expect(found).toContain(problem);
  });
});

describe("the head that the console has seen", () => {
  /** What the console does. */
  const see = () => cpSync(files().told, files().kept);

  it("is told at most once a second, the latest, and at the end", async () => {
    await fill(1);
    const told = () => JSON.parse(readFileSync(files().told, "utf8")).sequence;
    expect(told()).toBe(1);
    await fill(3);
    expect(told()).toBe(1);
    await clock.advance(1_000);
    expect(told()).toBe(4);
    await fill(1);
    ledger.close();
    expect(told()).toBe(5);
    ledger = open();
  });

  it("gives away an older ledger that is put back with its head, also when it goes on", async () => {
    await fill(5);
    ledger.close();
    cpSync(`${folder}/ledger`, `${folder}/older`, { recursive: true });
    ledger = open();
    await fill(5);
    ledger.close();
    see();
    rmSync(`${folder}/ledger`, { recursive: true });
    cpSync(`${folder}/older`, `${folder}/ledger`, { recursive: true });
    ledger = open();
    expect((await ledger.verify(signal)).problems).toEqual([
      "the console has seen the ledger up to entry 10: an older ledger was put back",
    ]);
    await clock.advance(5);
    await fill(9);
    expect((await ledger.verify(signal)).problems).toEqual([
      "entry 10 is not the one that the console has seen: the ledger was put back and went on",
    ]);
  });

  it("gives away a ledger that was made anew with a new key", async () => {
    await fill(5);
    const { head } = await ledger.verify(signal);
    ledger.close();
    see();
    rmSync(`${folder}/ledger`, { recursive: true });
    mkdirSync(`${folder}/ledger`);
    ledger = open();
    await fill(9);
    expect((await ledger.verify(signal)).problems).toEqual([
      expect.stringContaining(
        `the ledger could not be read (its file was missing or empty): it went up to entry 5, ${head.hash}`,
      ),
      expect.stringContaining("the ledger's key could not be read: another one signs from here"),
    ]);
  });

  it("gives away an older ledger that has outgrown it: the console does not follow", async () => {
    await fill(5);
    ledger.close();
    cpSync(`${folder}/ledger`, `${folder}/older`, { recursive: true });
    ledger = open();
    await fill(5);
    ledger.close();
    see();
    cpSync(`${folder}/older`, `${folder}/ledger`, { recursive: true, force: true });
    ledger = open();
    for (let round = 0; round < 3; round += 1) {
      await clock.advance(1_001);
      await fill(9);
      await clock.advance(1_001);
      const { sequence, after } = JSON.parse(readFileSync(files().told, "utf8"));
      expect(sequence).toBeGreaterThan(10);
      expect(after).toMatchObject({ sequence: 10 });
      expect(after.hash).not.toBe(JSON.parse(readFileSync(files().kept, "utf8")).hash);
    }
    expect((await ledger.verify(signal)).valid).toBe(false);
  });

  it("fits a ledger that only went on", async () => {
    await fill(5);
    await clock.advance(1_000);
    see();
    await fill(5);
    expect(existsSync(files().kept)).toBe(true);
    expect(await ledger.verify(signal)).toMatchObject({ valid: true, problems: [] });
  });
});
