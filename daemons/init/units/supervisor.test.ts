import { beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { Supervisor, stopGraceMs, type UnitSpec } from "./supervisor.ts";
import type { UnitState } from "./units.ts";
import { endedCleanly } from "./units.ts";

const specs: readonly UnitSpec[] = [
  { name: "memory", needs: [], restart: "always" },
  { name: "tools", needs: [], restart: "always" },
  { name: "orchestrator", needs: ["memory", "tools"], restart: "always" },
  { name: "once", needs: [], restart: "never" },
];

let clock: ManualClock;
let supervisor: Supervisor;
let log: string[];
/** The running process of each unit, and its health. */
let running: Map<string, { end: (how: string) => void; notice: (ready: boolean) => void; hang: (why: string) => void }>;
/** Units that do not end when they are told to. */
let stubborn: Set<string>;

beforeEach(() => {
  clock = new ManualClock();
  log = [];
  running = new Map();
  stubborn = new Set();
  let pid = 100;
  supervisor = new Supervisor(specs, {
    clock,
    random: () => 0.5,
    spawn(unit) {
      log.push(`spawn ${unit}`);
      let end = (_how: string) => {};
      const ended = new Promise<string>((resolve) => {
        end = (how) => {
          running.delete(unit);
          resolve(how);
        };
      });
      running.set(unit, { end, notice: () => {}, hang: () => {} });
      pid += 1;
      return {
        pid,
        ended,
        terminate() {
          log.push(`term ${unit}`);
          if (!stubborn.has(unit)) end("ended by SIGTERM");
        },
        kill() {
          log.push(`kill ${unit}`);
          end("ended by SIGKILL");
        },
      };
    },
    watch: (unit, notice) =>
      new Promise((_, reject) => {
        const process = running.get(unit);
        if (process !== undefined) Object.assign(process, { notice, hang: (why: string) => reject(new Error(why)) });
      }),
  });
});

const turn = () => clock.advance(0);
const stateOf = (name: string) => supervisor.status(name).state;
const states = (): UnitState[] => specs.map(({ name }) => stateOf(name));

async function allReady(): Promise<void> {
  supervisor.startAll();
  for (const name of ["memory", "tools", "orchestrator", "once"]) running.get(name)?.notice(true);
  await turn();
}

describe("the supervisor", () => {
  it("starts units as soon as what they need is ready, the rest at once", async () => {
    supervisor.startAll();
    expect(log).toEqual(["spawn memory", "spawn tools", "spawn once"]);
    expect(stateOf("orchestrator")).toBe("waiting");
    running.get("memory")?.notice(true);
    expect(stateOf("orchestrator")).toBe("waiting");
    running.get("tools")?.notice(true);
    expect(log.at(-1)).toBe("spawn orchestrator");
    expect(supervisor.status("orchestrator")).toMatchObject({ state: "starting", pid: 104 });
  });

  it("starts a dead unit again after its delay, and does not touch those that need it", async () => {
    await allReady();
    running.get("memory")?.end("ended by SIGKILL");
    await turn();
    expect(supervisor.status("memory")).toMatchObject({ state: "backoff", reason: "ended by SIGKILL", pid: 0 });
    await clock.advance(199);
    expect(stateOf("memory")).toBe("backoff");
    await clock.advance(1);
    expect(stateOf("memory")).toBe("starting");
    expect(stateOf("orchestrator")).toBe("ready");
  });

  it("starts a dead unit again even while what it needs is away, once that is back", async () => {
    await allReady();
    running.get("memory")?.end("ended by SIGKILL");
    running.get("orchestrator")?.end("ended by SIGKILL");
    await clock.advance(200);
    expect([stateOf("memory"), stateOf("orchestrator")]).toEqual(["starting", "waiting"]);
    running.get("memory")?.notice(true);
    expect(stateOf("orchestrator")).toBe("starting");
  });

  it("kills a unit that hangs, and says why", async () => {
    await allReady();
    running.get("tools")?.hang("stopped answering");
    await turn();
    expect(log.at(-1)).toBe("kill tools");
    expect(supervisor.status("tools")).toMatchObject({ state: "backoff", reason: "stopped answering" });
  });

  it("leaves a unit that may not restart where it ended", async () => {
    await allReady();
    running.get("once")?.end("ended with exit code 3");
    await clock.advance(60_000);
    expect(supervisor.status("once")).toMatchObject({ state: "stopped", reason: "ended with exit code 3" });
  });

  it("starts one that may restart on failure again after a failure, and not when its work is done", async () => {
    supervisor.add({ name: "job", needs: [], restart: "on-failure" });
    supervisor.start("job");
    running.get("job")?.end("ended with exit code 1");
    await clock.advance(200);
    expect(stateOf("job")).toBe("starting");
    running.get("job")?.end(endedCleanly);
    await clock.advance(60_000);
    expect(supervisor.status("job")).toMatchObject({ state: "stopped", reason: endedCleanly });
  });

  it("takes units in and forgets them, stopped, unless they were added again meanwhile", async () => {
    supervisor.add({ name: "late", needs: ["memory"], restart: "always" });
    supervisor.start("late");
    expect([stateOf("late"), stateOf("memory")]).toEqual(["waiting", "starting"]);
    running.get("memory")?.notice(true);
    expect(stateOf("late")).toBe("starting");
    supervisor.add({ name: "late", needs: [], restart: "always" });
    expect(supervisor.needs("late")).toEqual([]);
    stubborn.add("late");
    const first = supervisor.remove("late");
    supervisor.add({ name: "late", needs: [], restart: "never" });
    running.get("late")?.end("ended by SIGTERM");
    await first;
    expect(stateOf("late")).toBe("stopped");
    await supervisor.remove("late");
    expect(supervisor.has("late")).toBe(false);
    expect(() => supervisor.status("late")).toThrow("no such unit");
  });

  it("stops what needs a unit before the unit itself, and starts what a unit needs before it", async () => {
    await allReady();
    await supervisor.stop("memory");
    expect(log.slice(-2)).toEqual(["term orchestrator", "term memory"]);
    expect(states()).toEqual(["stopped", "ready", "stopped", "ready"]);
    supervisor.start("orchestrator");
    expect(log.at(-1)).toBe("spawn memory");
    running.get("memory")?.notice(true);
    expect(log.at(-1)).toBe("spawn orchestrator");
  });

  it("kills what has not ended ten seconds after it was told to", async () => {
    await allReady();
    stubborn.add("orchestrator");
    const stopped = supervisor.stopAll();
    await clock.advance(stopGraceMs - 1);
    expect(log).not.toContain("kill orchestrator");
    expect(log).not.toContain("term memory");
    await clock.advance(1);
    await stopped;
    expect(log.slice(-3)).toEqual(["kill orchestrator", "term memory", "term tools"]);
    expect(states()).toEqual(["stopped", "stopped", "stopped", "stopped"]);
  });

  it("starts nothing any more once all are to be stopped", async () => {
    await allReady();
    running.get("memory")?.end("ended by SIGKILL");
    await turn();
    await supervisor.stopAll();
    supervisor.startAll();
    await clock.advance(60_000);
    expect(running.size).toBe(0);
  });

  it("tells of each change and what was before, until nobody listens", async () => {
    const seen: string[] = [];
    const end = supervisor.onChange((name, now, before) => seen.push(`${name}: ${before.state} → ${now.state}`));
    supervisor.start("once");
    end();
    running.get("once")?.notice(true);
    expect(seen).toEqual(["once: stopped → waiting", "once: waiting → starting"]);
  });

  it("knows no unit that is not there", () => {
    expect(() => supervisor.start("nobody")).toThrow(/no such unit; there are memory, tools/);
  });
});
