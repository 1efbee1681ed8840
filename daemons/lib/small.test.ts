import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { callAfter, callEvery, ManualClock, systemClock, timeoutSignal } from "./clock.ts";
import { replaceFile } from "./data/files.ts";
import { openDatabase } from "./data/sqlite.ts";
import { uuidv7 } from "./ids.ts";
import { openLog } from "./log.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-lib-");
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("uuidv7", () => {
  it("sorts by time and has version and variant", () => {
    const [earlier, later] = [uuidv7(1_700_000_000_000), uuidv7(1_700_000_000_001)];
    expect(earlier < later).toBe(true);
    expect(earlier).toMatch(/^018bcfe5-6800-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe("replaceFile", () => {
  it("replaces the whole content and leaves nothing else behind", () => {
    const path = join(folder, "f");
    replaceFile(path, "a long first content");
    replaceFile(path, "second");
    expect(readFileSync(path, "utf8")).toBe("second");
    expect(readdirSync(folder)).toEqual(["f"]);
  });

  it("keeps the old content when the new cannot be written", () => {
    const path = join(folder, "none", "f");
    expect(() => replaceFile(path, "x")).toThrow("ENOENT");
  });
});

describe("openDatabase", () => {
  it("applies each migration once, and durably", () => {
    const path = join(folder, "a/b.db");
    openDatabase(path, ["CREATE TABLE t (x)"]).close();
    const database = openDatabase(path, ["CREATE TABLE t (x)", "ALTER TABLE t ADD COLUMN y"]);
    expect(database.pragma("user_version", { simple: true })).toBe(2);
    expect(database.pragma("synchronous", { simple: true })).toBe(2);
    expect(database.pragma("journal_mode", { simple: true })).toBe("wal");
    database.close();
    expect(() => openDatabase(path, ["CREATE TABLE t (x)"])).toThrow("newer version");
  });

  it("leaves the version when a migration fails", () => {
    const path = join(folder, "c.db");
    expect(() => openDatabase(path, ["CREATE TABLE t (x)", "CREATE TABLE t (x)"])).toThrow("already exists");
    const database = openDatabase(path, ["CREATE TABLE t (x)"]);
    expect(database.pragma("user_version", { simple: true })).toBe(1);
    database.close();
  });
});

describe("log", () => {
  it("writes one JSON object a line, cuts long lines, and drops what is below its level", () => {
    const lines: string[] = [];
    const log = openLog(
      "u",
      "info",
      (line) => lines.push(line),
      () => 7,
    );
    log.debug("no");
    log.info("yes", { a: 1, error: new Error("boom") });
    log.info("long", { text: "x".repeat(20_000) });
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      t: 7,
      level: "info",
      unit: "u",
      msg: "yes",
      a: 1,
      error: expect.stringContaining("boom"),
    });
    expect(lines[1]?.length).toBeLessThan(8_200);
    expect(lines).toHaveLength(2);
  });
});

describe("ManualClock", () => {
  it("of the system waits longer than a timer of Node's can", async () => {
    vi.useFakeTimers();
    try {
      const days = 40 * 86_400_000;
      let woke = false;
      systemClock.sleep(days).then(() => {
        woke = true;
      });
      const acts: string[] = [];
      const callOff = callAfter(days, () => acts.push("called off"));
      callAfter(Number.POSITIVE_INFINITY, () => acts.push("never"));
      await vi.advanceTimersByTimeAsync(days - 1);
      expect(woke).toBe(false);
      callOff();
      await vi.advanceTimersByTimeAsync(1);
      expect([woke, acts]).toEqual([true, []]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("and its signals too; what is no duration is refused, and is not at once", async () => {
    vi.useFakeTimers();
    try {
      const days = 30 * 86_400_000;
      const late = timeoutSignal(days);
      const never = timeoutSignal(Number.POSITIVE_INFINITY);
      await vi.advanceTimersByTimeAsync(days - 1);
      expect(late.aborted).toBe(false);
      await vi.advanceTimersByTimeAsync(1);
      expect([late.reason.name, never.aborted]).toEqual(["TimeoutError", false]);
    } finally {
      vi.useRealTimers();
    }
    for (const act of [callAfter, callEvery]) expect(() => act(Number.NaN, () => {})).toThrow(RangeError);
    for (const ms of [0, -1, 2 ** 31]) expect(() => callEvery(ms, () => {})).toThrow(RangeError);
    expect(() => timeoutSignal(Number.NaN)).toThrow(RangeError);
  });

  it("wakes sleepers in order and rejects an aborted one", async () => {
    const clock = new ManualClock(0);
    const woke: string[] = [];
    const abort = new AbortController();
    const cut = clock.sleep(5, abort.signal).catch((error: Error) => woke.push(error.name));
    clock.sleep(20).then(() => woke.push("b"));
    clock.sleep(10).then(() => woke.push("a"));
    abort.abort();
    await clock.advance(30);
    await cut;
    expect(woke).toEqual(["AbortError", "a", "b"]);
  });
});
