import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ManualClock } from "#lib/clock";
import { holderOf, openPlaces } from "./admission.ts";

const guest = (name: string, out: string[]) => ({ name, destroy: () => void out.push(name) });

describe("places", () => {
  it("let everyone in, and turn out the oldest of an address that has as many as it may", () => {
    const out: string[] = [];
    const places = openPlaces({ all: 10, ofOne: 2 }, new ManualClock());
    for (const name of ["a1", "a2", "a3", "a4"]) places.enter("a", guest(name, out));
    expect(out).toEqual(["a1", "a2"]);
    expect(places.size).toBe(2);
  });

  it("when all are taken, turn out the oldest of whoever has the most", () => {
    const out: string[] = [];
    const places = openPlaces({ all: 4, ofOne: 10 }, new ManualClock());
    places.enter("b", guest("b1", out));
    for (const name of ["a1", "a2", "a3"]) places.enter("a", guest(name, out));
    places.enter("c", guest("c1", out));
    expect(out).toEqual(["a1"]);
    expect(places.size).toBe(4);
  });

  it("are free again when a guest leaves, once", () => {
    const places = openPlaces({ all: 4, ofOne: 2 }, new ManualClock());
    const one = guest("a", []);
    places.enter("a", one);
    expect([places.leave(one), places.leave(one)]).toEqual([true, false]);
    expect(places.size).toBe(0);
  });
});

describe("places in which guests have their time", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const open = () => {
    const [out, seated]: [string[], string[]] = [[], []];
    const places = openPlaces(
      { all: 4, ofOne: 2, undisturbedMs: 500, waiting: { all: 4, ofOne: 3 } },
      { monotonic: () => Date.now() },
    );
    const enter = (name: string) => {
      const one = guest(name, out);
      places.enter(name.slice(0, 1), one, () => void seated.push(name));
      return one;
    };
    return { out, seated, places, enter };
  };

  it("turn nobody out before that, and then let in the first and the last to come by turns", () => {
    const { out, seated, enter } = open();
    for (const name of ["a1", "a2", "a3", "a4", "a5"]) enter(name);
    expect({ out, seated }).toEqual({ out: [], seated: ["a1", "a2"] });
    vi.advanceTimersByTime(600);
    expect({ out, seated }).toEqual({ out: ["a1", "a2"], seated: ["a1", "a2", "a3", "a5"] });
  });

  it("take the next in when a guest leaves, and nobody who has gone meanwhile", () => {
    const { out, seated, places, enter } = open();
    const [first, , third] = ["a1", "a2", "a3", "a4"].map(enter);
    if (first === undefined || third === undefined) throw new Error("no guest");
    expect([places.leave(third), places.leave(first)]).toEqual([true, true]);
    vi.advanceTimersByTime(400);
    expect({ out, seated, size: places.size }).toEqual({ out: [], seated: ["a1", "a2", "a4"], size: 2 });
  });

  it("let as many wait as may, and turn out who has waited longest", () => {
    const { out, enter } = open();
    for (const name of ["a1", "a2", "a3", "a4", "a5", "a6"]) enter(name);
    expect(out).toEqual(["a3"]);
    for (const name of ["b1", "b2", "b3", "b4"]) enter(name);
    expect(out).toEqual(["a3", "a4"]);
  });

  it("are looked through in a moment, however many wait from however many addresses", () => {
    const places = openPlaces(
      { all: 256, ofOne: 32, undisturbedMs: 500, waiting: { all: 1_024, ofOne: 512 } },
      { monotonic: () => Date.now() },
    );
    const inside = Array.from({ length: 256 }, (_, at) => guest(`a${at}`, []));
    for (const one of inside) places.enter(one.name, one);
    for (let at = 0; at < 1_024; at++) places.enter(`b${at}`, guest("", []));
    const before = process.cpuUsage();
    for (const one of inside.slice(0, 100)) places.leave(one);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(300);
    expect(places.size).toBe(256);
  });

  it("give another address its share, when one has them all", () => {
    const { out, seated, enter } = open();
    for (const name of ["a1", "a2", "b1", "b2", "b3"]) enter(name);
    vi.advanceTimersByTime(100);
    enter("c1");
    expect(seated).toEqual(["a1", "a2", "b1", "b2"]);
    vi.advanceTimersByTime(500);
    expect(seated).toEqual(["a1", "a2", "b1", "b2", "c1", "b3"]);
    expect(out).toHaveLength(2);
  });
});

describe("an address is held by", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:db8::9", "2001:db8:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    [undefined, "unknown"],
  ])("%s: %s", (address, holder) => {
    expect(holderOf(address)).toBe(holder);
  });
});
