import { beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { type Faults, openFaults } from "../base/faults.ts";
import { backoff } from "./backoff.ts";
import { graceMs, watchDaemons } from "./daemon-watch.ts";
import { type Readiness, Supervisor } from "./supervisor.ts";

let clock: ManualClock;
let supervisor: Supervisor;
let faults: Faults;
let told: string[];
/** What runs, by unit. */
let running: Map<string, { end(how: string): void; notice: Readiness }>;

beforeEach(() => {
  clock = new ManualClock();
  faults = openFaults();
  told = [];
  running = new Map();
  faults.onChange((_, text) => told.push(text ?? "well"));
  const restart = "always";
  const specs = ["memory", "tools", "service"].map((name) => ({ name, needs: [], restart }) as const);
  supervisor = new Supervisor(specs, {
    clock,
    random: () => 0.5,
    spawn(unit) {
      const { promise: ended, resolve: end } = Promise.withResolvers<string>();
      running.set(unit, { end, notice: () => {} });
      return { pid: 1, ended, terminate: () => end("ended by SIGTERM"), kill: () => end("ended by SIGKILL") };
    },
    watch: async (unit, notice) => void Object.assign(running.get(unit) ?? {}, { notice }),
  });
  watchDaemons(supervisor, ["memory", "tools"], faults, clock);
  supervisor.startAll();
});

const ready = async (name: string) => {
  running.get(name)?.notice(true);
  await clock.advance(0);
};
const crash = async (name: string, how = "ended with exit code 70") => {
  running.get(name)?.end(how);
  await clock.advance(0);
};
const crashOften = async (name: string) => {
  for (let times = 0; times < backoff.crashLoopAfter; times += 1) {
    await crash(name);
    await clock.advance(times < backoff.crashLoopAfter - 1 ? backoff.longestMs : 0);
  }
};

describe("a daemon", () => {
  it("that is back soon is no fault", async () => {
    await ready("memory");
    await crash("memory");
    await clock.advance(graceMs / 2);
    await ready("memory");
    await clock.advance(graceMs);
    expect(told).toEqual([]);
  });

  it("that stays away is one, with why, until it is ready", async () => {
    await ready("memory");
    await crash("memory");
    await clock.advance(graceMs);
    expect(faults.list()).toEqual(['memory is not ready: ended with exit code 70; see "aiosctl logs memory"']);
    await ready("memory");
    expect(faults.list()).toEqual([]);
  });

  it("that says itself that it is not ready is one", async () => {
    await ready("memory");
    running.get("memory")?.notice(false);
    await clock.advance(graceMs);
    expect(faults.list()).toEqual([expect.stringContaining("answers its health check, and is not ready")]);
  });

  it("in a crash loop is one at once, and is told once for all its starts", async () => {
    await ready("memory");
    await crashOften("memory");
    expect(supervisor.status("memory").state).toBe("crash-loop");
    await crash("memory");
    await clock.advance(backoff.longestMs * 3);
    expect(told).toHaveLength(1);
  });

  it("that somebody stopped is one, with how to start it", async () => {
    await ready("tools");
    await supervisor.stop("tools");
    await clock.advance(graceMs);
    expect(faults.list()).toEqual(['tools is not ready: stopped on demand; start it with "aiosctl units start tools"']);
  });

  it("that was never ready is told of by the boot, and no unit beside the daemons is a fault", async () => {
    await crashOften("memory");
    await ready("service");
    await crashOften("service");
    await clock.advance(graceMs);
    expect(told).toEqual([]);
  });

  it("is none when the machine ends", async () => {
    await ready("memory");
    await supervisor.stopAll();
    await clock.advance(graceMs);
    expect(told).toEqual([]);
  });
});
