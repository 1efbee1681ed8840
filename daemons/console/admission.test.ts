import { describe, expect, it } from "vitest";
import { holderOf, openPlaces } from "./admission.ts";

const guest = (name: string, out: string[]) => ({ name, destroy: () => void out.push(name) });

describe("places", () => {
  it("let everyone in, and turn out the oldest of an address that has as many as it may", () => {
    const out: string[] = [];
    const places = openPlaces(10, 2);
    for (const name of ["a1", "a2", "a3", "a4"]) places.enter("a", guest(name, out));
    expect(out).toEqual(["a1", "a2"]);
    expect(places.size).toBe(2);
  });

  it("when all are taken, turn out the oldest of whoever has the most", () => {
    const out: string[] = [];
    const places = openPlaces(4, 10);
    places.enter("b", guest("b1", out));
    for (const name of ["a1", "a2", "a3"]) places.enter("a", guest(name, out));
    places.enter("c", guest("c1", out));
    expect(out).toEqual(["a1"]);
    expect(places.size).toBe(4);
  });

  it("are free again when a guest leaves, once", () => {
    const places = openPlaces(4, 2);
    const one = guest("a", []);
    places.enter("a", one);
    expect([places.leave(one), places.leave(one)]).toEqual([true, false]);
    expect(places.size).toBe(0);
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
