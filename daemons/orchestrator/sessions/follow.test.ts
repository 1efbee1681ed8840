import { beforeEach, describe, expect, it } from "vitest";
import type { EventRecord } from "#kernel/events";
import type { EventKind } from "#kernel/kinds";
import { emptyState } from "#kernel/state";
import { systemClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import { type Begun, follow } from "./follow.ts";
import type { Happening } from "./happenings.ts";
import { openWaits } from "./waits.ts";

/** A branch on which the test writes. */
let stored: EventRecord[];
/** Where the journal was read from. */
let reads: number[];
let away: number;
let hear: (events: readonly EventRecord[]) => void;
let listening: boolean;
beforeEach(() => {
  stored = [];
  reads = [];
  away = 0;
  listening = false;
});

const message = (content: string): EventKind => ({ type: "Message", role: "assistant", content, model: "m" });

/** Stores what is said; `heard`: and tells who listens. */
function write(heard: boolean, ...said: readonly string[]): void {
  const events = said.map((content, at) => {
    const sequence = stored.length + 1 + at;
    return { sequence, timestamp: "2026-11-30T12:00:00Z", kind: message(content) } as EventRecord;
  });
  stored.push(...events);
  if (heard) hear(events);
}

const parts = {
  kernel: { state: async () => ({ ...emptyState("s", "main"), head: stored.length }) },
  journal: {
    async read(_session: string, _branch: string, from: number) {
      reads.push(from);
      if (away-- > 0) throw new AiosError("UNAVAILABLE", "the journal is away");
      return stored.slice(from - 1);
    },
    listen(_session: string, _branch: string, tell: typeof hear) {
      hear = tell;
      listening = true;
      return () => {
        listening = false;
      };
    },
  },
  waits: openWaits(),
  ...{ clock: systemClock, log: silentLog },
};

const idle = { done: Promise.resolve({ status: "idle" as const }) };

async function heardAfter(after: number, begin: () => Promise<Begun>): Promise<string[]> {
  const all: Happening[] = [];
  for await (const one of follow(parts, { session: "s", branch: "main" }, after, begin, new AbortController().signal))
    all.push(one);
  expect(all.pop()).toMatchObject({ what: "over", status: "finished" });
  expect(listening).toBe(false);
  return all.map((one) => (one.what === "said" ? `${one.sequence} ${one.text}` : one.what));
}

describe("following a branch", () => {
  it("hears what the kernel writes, and reads nothing", async () => {
    const heard = await heardAfter(0, async () => {
      write(true, "one", "two");
      write(true, "three");
      return idle;
    });
    expect(heard).toEqual(["1 one", "2 two", "3 three"]);
    expect(reads).toEqual([]);
  });

  it("reads what was written before, and tells each event once", async () => {
    write(false, "one", "two", "three");
    const heard = await heardAfter(1, async () => {
      write(true, "four");
      return idle;
    });
    expect(heard).toEqual(["2 two", "3 three", "4 four"]);
    expect(reads).toEqual([2]);
  });

  it.each(["in the middle", "at the end"])("reads what was stored although its append failed: %s", async (where) => {
    const heard = await heardAfter(0, async () => {
      write(true, "one");
      write(false, "two");
      if (where === "in the middle") write(true, "three");
      return idle;
    });
    expect(heard).toEqual(["1 one", "2 two", ...(where === "in the middle" ? ["3 three"] : [])]);
    expect(reads).toEqual([2]);
  });

  it("waits for a journal that is away for a while", async () => {
    write(false, "one");
    away = 1;
    expect(await heardAfter(0, async () => idle)).toEqual(["1 one"]);
    expect(reads).toEqual([1, 1]);
  });

  it("throws what cannot begin, and listens no longer", async () => {
    await expect(heardAfter(0, () => Promise.reject(new Error("a run is open")))).rejects.toThrow("a run is open");
    expect(listening).toBe(false);
  });
});
