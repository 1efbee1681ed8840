import { mkdtempSync, rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { Event } from "#proto/aios/memory";
import type { Event as Kept } from "./records.ts";
import { openRing } from "./ring.ts";
import { type OpenMemory, openMemory, start } from "./testing/harness.ts";

const event = (fields: Partial<Event>) =>
  Event.fromPartial({ category: "event", source: "init", timestamp: start, ...fields });

describe("the ring", () => {
  it("finds what a walk through all events finds, whatever was pushed and dropped", () => {
    const clock = new ManualClock(start);
    const ring = openRing(100, clock);
    const all: Kept[] = [];
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed % below;
    };
    for (let at = 0; at < 5_000; at++) {
      const pushed = event({ id: `${at}`, category: `c${random(4)}`, source: `s${random(7)}` });
      all.push(pushed);
      ring.push(pushed);
      if (at % 50 !== 0) continue;
      const [category, source] = [random(2) ? `c${random(5)}` : "", random(2) ? `s${random(8)}` : ""];
      const expected = all
        .slice(-100)
        .reverse()
        .filter((one) => (category === "" || one.category === category) && (source === "" || one.source === source));
      expect([...ring.newest(category, source)]).toEqual(expected);
    }
    expect(ring.size().events).toBe(100);
  });

  it("gives no event that is past its time, also when it came late or before one of the future", () => {
    const ring = openRing(10, new ManualClock(start));
    ring.push(event({ id: "ahead", timestamp: start + 60_000 }));
    ring.push(event({ id: "late", timestamp: start - 3_600_001 }));
    ring.push(event({ id: "now" }));
    expect([...ring.newest("", "init")].map(({ id }) => id)).toEqual(["now", "ahead"]);
    expect([...ring.newest("nothing", "init")]).toEqual([]);
  });

  it("is bounded in bytes and in age", async () => {
    const clock = new ManualClock(start);
    const ring = openRing(1_000, clock);
    for (let at = 0; at < 100; at++) ring.push(event({ id: `${at}`, dataJson: Buffer.alloc(1_000_000) }));
    expect(ring.size().events).toBe(67);
    expect(ring.size().bytes).toBeLessThanOrEqual(67_108_864);
    await clock.advance(3_600_001);
    expect([...ring.newest("event", "")]).toEqual([]);
    expect(ring.size()).toEqual({ events: 0, bytes: 0 });
  });
});

describe("watching", () => {
  let folder: string;
  let opened: OpenMemory;
  beforeEach(async () => {
    folder = mkdtempSync("/tmp/aios-watch-");
    opened = await openMemory(folder);
  });
  afterEach(async () => {
    await opened.close();
    rmSync(folder, { recursive: true });
  });

  const watch = (fields: { category?: string; source?: string; recent?: number }, signal: AbortSignal) =>
    opened.query.watchEvents({ category: "", source: "", recent: 0, ...fields }, { signal });
  const watchers = async () => (await opened.admin.getStats({})).eventWatchers;
  const push = (fields: Partial<Event>) => opened.memory.pushEvent(event(fields));

  it("gives the last events, then those that come, of one category and source", async () => {
    for (const id of ["a", "b", "c"]) await push({ id });
    await push({ id: "d", category: "error" });
    const ending = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { id } of watch({ category: "event", recent: 2 }, ending.signal)) {
        seen.push(id);
        if (seen.length === 4) break;
      }
    })();
    await expect.poll(watchers).toBe(1);
    for (const fields of [{ id: "e" }, { id: "f", category: "error" }, { id: "g", source: "tools" }])
      await push(fields);
    await watching;
    expect(seen).toEqual(["b", "c", "e", "g"]);
    await expect.poll(watchers).toBe(0);
  });

  it("ends with ABORTED for a reader that falls behind, and holds up nobody", async () => {
    const ending = new AbortController();
    const stream = watch({ recent: 1 }, ending.signal)[Symbol.asyncIterator]();
    await push({ id: "first" });
    const first = stream.next();
    await expect.poll(watchers).toBe(1);
    await push({ id: "second" });
    await first;
    const large = { dataJson: Buffer.from(JSON.stringify("x".repeat(60_000))) };
    for (let at = 0; at < 2_400; at++) await push(large);
    const drained = (async () => {
      for (let got = await stream.next(); got.done !== true; got = await stream.next());
    })();
    await expect(drained).rejects.toMatchObject({
      code: "ABORTED",
      message: expect.stringContaining("1000 of them or"),
    });
    await expect.poll(watchers).toBe(0);
  });
});
