import { getEventListeners } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import type { Place } from "./queues.ts";
import { openQueues, type Queues, unattendedMaxMs } from "./queues.ts";
import type { Need } from "./router.ts";

const never = new AbortController().signal;
const need = (namespace: string, priority = 2): Need => ({ namespace, agent: "", priority });
const place: Place = { agent: "a", release: () => {} };

let clock: ManualClock;
let lines: Queues;
let served: string[];

beforeEach(() => {
  clock = new ManualClock();
  lines = openQueues(clock);
  served = [];
});

/** Stands in a line under a name, which is in `served` once it has a place, or has been turned away. */
function enter(name: string, wanted: Need, signal = never): void {
  lines.enter(wanted, signal).then(
    () => served.push(name),
    (error: Error) => served.push(`${name}: ${error.message}`),
  );
}

/** Gives out so many places to those whose namespace is one of these. */
function serve(places: number, namespaces: readonly string[] = ["fs", "net"]): void {
  let left = places;
  lines.serve(({ namespace }) => {
    if (left === 0 || !namespaces.includes(namespace)) return undefined;
    left -= 1;
    return place;
  });
}

describe("the lines for agents", () => {
  it("serve the most urgent of all lines first, among equals the one that came first", async () => {
    enter("first", need("fs", 3));
    enter("second", need("net", 3));
    enter("urgent", need("fs", 0));
    enter("third", need("fs", 3));
    serve(3);
    await turn();
    expect(served).toEqual(["urgent", "first", "second"]);
    serve(9);
    await turn();
    expect(served.at(-1)).toBe("third");
  });

  it("are not held up by one that nobody can be found for", async () => {
    enter("hopeless", need("net", 0));
    enter("other", need("fs", 3));
    serve(9, ["fs"]);
    await turn();
    expect(served).toEqual(["other"]);
  });

  it("ask once for each need, however many wait", () => {
    for (let at = 0; at < 1_000; at += 1) enter(String(at), need(at % 2 === 0 ? "fs" : "net"));
    let asked = 0;
    lines.serve(() => {
      asked += 1;
      return undefined;
    });
    expect(asked).toBe(2);
  });

  it("turn away who waits too long while no agent is there, and nobody else", async () => {
    enter("early", need("fs"));
    await clock.advance(unattendedMaxMs - 1);
    enter("late", need("fs"));
    lines.turnAway(
      () => false,
      () => "a dead",
    );
    await clock.advance(1);
    lines.turnAway(
      () => false,
      () => "a dead",
    );
    await turn();
    expect(served).toEqual(["early: find an agent for fs: none was there for 120 s (a dead)"]);
    serve(1);
    await turn();
    expect(served.at(-1)).toBe("late");
  });

  it("wait as long as it takes for an agent that is there and busy", async () => {
    enter("patient", need("fs"));
    for (let minute = 0; minute < 60; minute += 1) {
      await clock.advance(60_000);
      lines.turnAway(
        () => true,
        () => "",
      );
    }
    expect(served).toEqual([]);
    serve(1);
    await turn();
    expect(served).toEqual(["patient"]);
  });

  it("are left with the signal, and leave nothing at it when a place is found", async () => {
    const [gone, stays] = [new AbortController(), new AbortController()];
    enter("gone", need("fs"), gone.signal);
    enter("stays", need("fs"), stays.signal);
    gone.abort(new Error("enough"));
    serve(9);
    await turn();
    expect(served).toEqual(["gone: enough", "stays"]);
    expect(getEventListeners(stays.signal, "abort")).toEqual([]);
  });
});
