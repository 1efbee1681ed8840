/** What time it is: at the start of a machine, by several servers, and from then on. */
import { describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { type Faults, openFaults } from "../base/faults.ts";
import { agreement, type Sample } from "./agreement.ts";
import { type KeeperNeeds, keepTime } from "./keeper.ts";
import type { Said } from "./query.ts";
import { openRounds, type Round } from "./round.ts";
import { parseTimeServer } from "./servers.ts";
import { beginTime } from "./start.ts";

const floorMs = Date.UTC(2026, 10, 1);
const dayMs = 86_400_000;

describe("the time at the start", () => {
  const begin = (hardwareMs: number, markMs?: number) => beginTime({ hardwareMs, floorMs, markMs });

  it("is the hardware clock's, or the mark's where that is a little later", () => {
    const now = floorMs + 400 * dayMs;
    expect(begin(now)).toEqual({ nowMs: now, from: "the hardware clock", aheadMs: 0, problems: [] });
    expect(begin(now, now - 5)).toMatchObject({ nowMs: now, from: "the hardware clock", problems: [] });
    expect(begin(now, now + 3_600_000)).toMatchObject({
      nowMs: now + 3_600_000,
      from: "the last shutdown",
      problems: [],
    });
  });

  it("is never before the image was made", () => {
    expect(begin(0)).toMatchObject({ nowMs: floorMs, from: "the image's making" });
    expect(begin(0).problems).toEqual([expect.stringMatching(/says 1970-01-01, before this image was made/)]);
    expect(begin(0).aheadMs).toBeGreaterThan(365 * dayMs);
    expect(begin(floorMs - 3_600_000)).toMatchObject({ nowMs: floorMs, problems: [] });
  });

  it("goes on from the mark where the hardware clock has stopped", () => {
    const mark = floorMs + 90 * dayMs;
    expect(begin(0, mark)).toMatchObject({ nowMs: mark, from: "the last shutdown" });
    expect(begin(0, floorMs - dayMs)).toMatchObject({ nowMs: floorMs, from: "the image's making" });
  });

  it("does not believe a mark that is far ahead, and says so", () => {
    const now = floorMs + dayMs;
    const ahead = begin(now, now + 300 * dayMs);
    expect(ahead).toMatchObject({ nowMs: now, from: "the hardware clock", aheadMs: 0 });
    expect(ahead.problems).toEqual([expect.stringMatching(/mark .* says 2027-08-29, far ahead of the hardware clock/)]);
    const both = begin(0, Date.UTC(2050, 0, 1));
    expect(both).toMatchObject({ nowMs: floorMs, from: "the image's making" });
    expect(both.problems).toHaveLength(2);
  });

  it("does not believe a hardware clock that is far ahead, and says so", () => {
    const begun = begin(Date.UTC(2099, 0, 1));
    expect(begun).toMatchObject({ nowMs: floorMs, from: "the image's making" });
    expect(begun.problems).toEqual([expect.stringMatching(/says 2099-01-01, more than five years after/)]);
    // A machine that has run until lately may be older than that.
    const late = floorMs + 6 * 365 * dayMs;
    expect(begin(late, late - 2 * 365 * dayMs)).toMatchObject({ nowMs: late, problems: [] });
  });
});

describe("several servers", () => {
  const sample = (server: string, offsetMs: number, distanceMs = 10): Sample => ({ server, offsetMs, distanceMs });

  it("agree where most of them meet", () => {
    expect(agreement([])).toBeUndefined();
    expect(agreement([sample("a", 500)])).toEqual({ offsetMs: 500, servers: ["a"] });
    const three = agreement([sample("a", 500), sample("wrong", 9_000_000), sample("b", 505)]);
    expect(three).toEqual({ offsetMs: 502.5, servers: ["a", "b"] });
  });

  it("do not where half of them is wrong", () => {
    expect(agreement([sample("a", 0), sample("b", 10_000)])).toBeUndefined();
    expect(agreement([sample("a", 0), sample("b", 5), sample("c", 9_000), sample("d", 9_005)])).toBeUndefined();
    expect(agreement([sample("a", 0), sample("b", 5_000), sample("c", 90_000)])).toBeUndefined();
  });
});

describe("the name of a time server", () => {
  it.each([
    ["10.0.0.1", "10.0.0.1", 123],
    ["10.0.0.1:1123", "10.0.0.1", 1123],
    ["2001:db8::1", "2001:db8::1", 123],
    ["[2001:db8::1]", "2001:db8::1", 123],
    ["[2001:db8::1]:1123", "2001:db8::1", 1123],
    ["ntp.example.org", "ntp.example.org", 123],
    ["ntp.example.org:124", "ntp.example.org", 124],
  ])("is read: %s", (name, host, port) => {
    expect(parseTimeServer(name)).toEqual({ name, host, port });
  });

  it.each(["", "a b", "[10.0.0.1]:5", "host:0", "host:99999", "-x", "a;b", "http://x"])("is refused: %s", (name) => {
    expect(parseTimeServer(name)).toBeUndefined();
  });
});

describe("a round of questions", () => {
  const clock = new ManualClock(floorMs + dayMs);
  const time = (offsetMs: number): Said => ({ kind: "time", offsetMs, distanceMs: 10 });
  const server = (name: string) => parseTimeServer(name) ?? expect.fail(name);
  const rounds = (answers: Record<string, Said>, asked: string[] = []) =>
    openRounds({
      clock,
      floorMs,
      ask: async (address) => {
        asked.push(address);
        return answers[address] ?? { kind: "silent", reason: "no answer" };
      },
      resolve: async (name) => {
        if (name === "pool") return ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
        throw new Error("ENOTFOUND");
      },
    });

  it("asks the servers behind a name, and says of each that tells nothing why", async () => {
    const answers = {
      "10.0.0.1": time(5),
      "10.0.0.2": time(7),
      "10.0.0.9": { kind: "unusable", reason: "no clock" },
    } as const;
    const round = await rounds(answers)([server("pool"), server("10.0.0.9"), server("nowhere")]);
    expect(round.agreement?.servers).toEqual(["pool (10.0.0.1)", "pool (10.0.0.2)"]);
    expect(round.suspect).toBe(false);
    expect(round.problems).toEqual([
      "pool (10.0.0.3): no answer",
      "pool (10.0.0.4): no answer",
      "10.0.0.9: no clock",
      "nowhere: no name server knows its address",
    ]);
  });

  it.each([Date.UTC(1999, 0, 1), Date.UTC(2026, 9, 1), Date.UTC(2038, 0, 1)])("does not believe %i", async (saidMs) => {
    const round = await rounds({ "10.0.0.1": time(saidMs - clock.now()) })([server("10.0.0.1")]);
    expect(round).toMatchObject({ agreement: undefined, suspect: true });
    expect(round.problems[0]).toMatch(/^10\.0\.0\.1: it says \d{4}-\d\d-\d\d, which nobody can believe/);
  });

  it("says when servers disagree", async () => {
    const round = await rounds({ "10.0.0.1": time(0), "10.0.0.2": time(9_000) })([
      server("10.0.0.1"),
      server("10.0.0.2"),
    ]);
    expect(round).toMatchObject({ agreement: undefined, suspect: true });
    expect(round.problems).toEqual(["they disagree: 10.0.0.1 +0.000 s, 10.0.0.2 +9.000 s"]);
  });

  it("leaves a server alone that asked for it, longer each time, and for good one that refuses", async () => {
    const asked: string[] = [];
    const refused = (code: string): Said => ({ kind: "refused", code });
    const ask = rounds(
      { "10.0.0.1": refused("RATE"), "10.0.0.2": refused("DENY"), "10.0.0.3": refused("INIT") },
      asked,
    );
    const servers = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(server);
    await ask(servers);
    const second = await ask(servers);
    expect(asked).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.3"]);
    expect(second.problems[0]).toMatch(/asked to be left alone \(RATE\)/);
    await clock.advance(130_000);
    await ask(servers);
    await clock.advance(130_000);
    await ask(servers);
    expect(asked.filter((one) => one === "10.0.0.1")).toHaveLength(2);
    await clock.advance(100 * dayMs);
    await ask(servers);
    expect(asked.filter((one) => one === "10.0.0.1")).toHaveLength(3);
    expect(asked.filter((one) => one === "10.0.0.2")).toHaveLength(1);
  });
});

describe("keeping the time", () => {
  const agreed = (offsetMs: number): Round => ({
    agreement: { offsetMs, servers: ["a", "b"] },
    problems: [],
    suspect: false,
  });
  const none = (...problems: string[]): Round => ({ agreement: undefined, problems, suspect: false });

  function keeper(...rounds: Round[]) {
    const clock = new ManualClock(floorMs);
    const done: string[] = [];
    const askedAt: number[] = [];
    const faults: Faults = openFaults();
    faults.raise("clock", "not believed");
    const end = new AbortController();
    const needs: KeeperNeeds = {
      clock,
      faults,
      servers: () => [],
      ask: async () => {
        askedAt.push(clock.monotonic() - floorMs);
        return (rounds.length > 1 ? rounds.shift() : rounds[0]) ?? none();
      },
      setTime: (nowMs) => done.push(`set ${nowMs - clock.now()}`),
      slewTime: (offsetMs) => done.push(`slew ${offsetMs}`),
      say: () => {},
      hear: (sure, text) => done.push(`${sure ? "sure" : "unsure"} ${text}`),
    };
    return { clock, done, askedAt, faults, end, needs, kept: keepTime(needs, end.signal) };
  }

  it("sets a clock that is far off, then slews it, and asks ever less often", async () => {
    const { clock, done, askedAt, faults, end } = keeper(agreed(60_000), agreed(-20));
    await clock.advance(0);
    expect(done).toEqual(["set 60000", "sure as a, b told"]);
    expect(faults.list()).toEqual([]);
    await clock.advance(10_000_000);
    expect(done.slice(2, 4)).toEqual(["slew -20", "sure as a, b told"]);
    expect(askedAt.slice(0, 7)).toEqual([0, 64, 192, 448, 960, 1_984, 3_008].map((seconds) => seconds * 1000));
    end.abort();
  });

  it("asks often at first while nobody answers, and says what is in the way", async () => {
    const { clock, done, askedAt, end, faults } = keeper(none(), none("a: no answer"));
    await clock.advance(1_000_000);
    expect(done.slice(0, 2)).toEqual(["unsure no time server is known", "unsure a: no answer"]);
    expect(askedAt.slice(0, 5)).toEqual([0, 5, 15, 35, 75].map((seconds) => seconds * 1000));
    expect(Math.max(...askedAt.slice(1).map((at, index) => at - (askedAt[index] ?? 0)))).toBe(300_000);
    expect(faults.list()).toEqual(["not believed"]);
    end.abort();
  });

  it("asks at once when there may be other servers", async () => {
    const { clock, askedAt, kept, end } = keeper(none());
    await clock.advance(6_000);
    kept.wake();
    await clock.advance(0);
    await clock.advance(0);
    expect(askedAt).toEqual([0, 5_000, 6_000]);
    end.abort();
  });

  it("is not thrown by one answer once it is sure, and follows two that say the same", async () => {
    const year = 365 * dayMs;
    const { clock, done, end } = keeper(agreed(0), agreed(year), agreed(10), agreed(-year), agreed(-year + 50));
    await clock.advance(64_000);
    await clock.advance(64_000);
    expect(done.filter((act) => act.startsWith("set"))).toEqual([]);
    await clock.advance(1_000_000);
    expect(done.filter((act) => act.startsWith("set"))[0]).toBe(`set ${-year + 50}`);
    end.abort();
  });

  it("does not call a clock sure that could not be set, and tells a person of servers that cannot be believed", async () => {
    const failing = keeper({ ...none("they disagree: a +0.000 s, b +9.000 s"), suspect: true }, agreed(500_000));
    failing.needs.setTime = () => {
      throw new Error("EPERM");
    };
    await failing.clock.advance(0);
    expect(failing.faults.list()[1]).toMatch(
      /time servers: they disagree: .*; correct them, or name others in \[network\]/,
    );
    await failing.clock.advance(5_000);
    expect(failing.done.at(-1)).toBe("unsure EPERM");
    expect(failing.faults.list()).toEqual(["not believed"]);
    failing.end.abort();
  });
});
