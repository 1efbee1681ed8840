import { setTimeout as delay } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import type { AgentConfig } from "./agent-config.ts";
import { type Agents, openAgents } from "./agents.ts";
import { type Assignment, type Assignments, openAssignments, type Report } from "./assignments.ts";
import type { Place } from "./queues.ts";
import { type Candidate, chooseAgent } from "./router.ts";

const configOf = (name: string, namespaces: string[], concurrentTasksMax = 1): AgentConfig => ({
  name,
  type: name,
  ...{ role: "for this test", brief: "b" },
  namespaces,
  standing: [],
  requestable: [],
  concurrentTasksMax,
  heartbeatIntervalMs: 1_000,
  limits: { memoryMiB: 64, pids: 32, cpuCores: 1 },
  restart: { max: 3, windowMs: 60_000, delayMs: 1_000 },
});

const never = new AbortController().signal;
const need = (namespace: string, agent = "", priority = 2) => ({ namespace, agent, priority });

describe("the registry of agents", () => {
  let clock: ManualClock;
  let lost: string[];
  let hung: string[];
  let agents: Agents;
  const hearers = {
    lost: (_: string, reason: string) => void lost.push(reason),
    hung: (agent: string, reason: string) => void hung.push(`${agent}: ${reason}`),
  };

  beforeEach(() => {
    clock = new ManualClock();
    lost = [];
    const configs = [configOf("system", ["fs"]), configOf("task", ["fs", "net"], 2)];
    hung = [];
    agents = openAgents(configs, clock, hearers);
  });

  const status = (name: string) => agents.list().find((agent) => agent.name === name)?.status;
  /** The names of the agents that `places` were found at so far. */
  const taken = (places: Promise<Place>[]) => {
    const names: string[] = [];
    for (const place of places) place.then(({ agent }) => names.push(agent)).catch(() => {});
    return names;
  };

  it("gives a place to who waits as soon as an agent is there, and the most urgent first", async () => {
    const order: number[] = [];
    const waiting = [3, 0, 2].map((priority) =>
      agents.place(need("fs", "", priority), never).then((place) => {
        order.push(priority);
        place.release();
      }),
    );
    expect(status("system")).toBe("starting");
    agents.register("system");
    await Promise.all(waiting);
    expect(order).toEqual([0, 2, 3]);
    expect(status("system")).toBe("idle");
  });

  it("takes an agent that is silent for 15 s for dead, loses its tasks once, and has it register again", async () => {
    const stop = new AbortController();
    const sweeping = agents.sweep(stop.signal);
    agents.register("system");
    await clock.advance(14_000);
    expect(agents.beat("system")).toBe(true);
    await clock.advance(15_000);
    expect(status("system")).toBe("idle");
    await clock.advance(20_000);
    expect(lost).toEqual(["agent system was silent for 16 s"]);
    expect(status("system")).toBe("dead");
    expect(agents.beat("system")).toBe(false);
    agents.register("system");
    expect(status("system")).toBe("idle");
    stop.abort();
    await clock.advance(1_000);
    await sweeping;
  });

  it("has one replaced that is silent for 30 s, and lets it be once its process has changed", async () => {
    const stop = new AbortController();
    const sweeping = agents.sweep(stop.signal);
    agents.register("system");
    await clock.advance(30_000);
    expect([status("system"), hung]).toEqual(["dead", []]);
    await clock.advance(1_000);
    expect(hung).toEqual(["system: it was silent for 31 s, and is replaced"]);
    agents.processChanged("system", "backoff", "killed by SIGKILL");
    expect(status("system")).toBe("backoff");
    await clock.advance(60_000);
    expect(hung).toHaveLength(1);
    expect(lost).toHaveLength(1);
    stop.abort();
    await clock.advance(1_000);
    await sweeping;
  });

  it("has one replaced that does not get as far as to register", async () => {
    const stop = new AbortController();
    const sweeping = agents.sweep(stop.signal);
    agents.processChanged("task", "starting", "");
    await clock.advance(120_000);
    expect([status("task"), hung]).toEqual(["starting", []]);
    await clock.advance(1_000);
    expect(hung).toEqual(["task: it had not registered 121 s after its start, and is replaced"]);
    agents.register("task");
    await clock.advance(10_000);
    expect(hung).toHaveLength(1);
    stop.abort();
    await clock.advance(1_000);
    await sweeping;
  });

  it("blames no agent when the machine stood still", async () => {
    const stop = new AbortController();
    let now = 0;
    const sleeps: (() => void)[] = [];
    const clock = { now: () => now, monotonic: () => now, sleep: () => new Promise<void>((wake) => sleeps.push(wake)) };
    const stopped = openAgents([configOf("system", [])], clock, hearers);
    stopped.register("system");
    const sweeping = stopped.sweep(stop.signal);
    const pass = async (ms: number) => {
      now += ms;
      sleeps.shift()?.();
      await delay(1);
    };
    await pass(60_000);
    expect(lost).toEqual([]);
    for (let second = 0; second < 16; second += 1) await pass(1_000);
    expect(lost).toEqual(["agent system was silent for 16 s"]);
    stop.abort();
    await pass(0);
    await sweeping;
  });

  it("loses the tasks of an agent whose process ended, once, also when it registers anew before that is known", () => {
    agents.register("system");
    agents.register("system");
    agents.processChanged("system", "backoff", "exit status 1");
    agents.processChanged("system", "starting", "");
    expect(lost).toEqual(["agent system started anew", "agent system ended: exit status 1"]);
  });

  it("waits for the agent that the plan asks for, and goes to another only when there is no hope for it", async () => {
    agents.register("task");
    const names = taken([agents.place(need("fs", "system"), never)]);
    await delay(5);
    expect(names).toEqual([]);
    agents.processChanged("system", "crash_loop", "exit status 1");
    await delay(5);
    expect(names).toEqual(["task"]);
  });

  it("gives no agent more than it may do at a time", async () => {
    agents.register("task");
    const stop = new AbortController();
    const places = [1, 2, 3].map(() => agents.place(need("net"), stop.signal));
    const names = taken(places);
    await delay(5);
    expect(names).toEqual(["task", "task"]);
    expect(status("task")).toBe("active");
    (await places[0])?.release();
    await delay(5);
    expect(names).toHaveLength(3);
  });

  it("lets a task wait for a busy agent, and turns it away when that is gone for too long", async () => {
    const stop = new AbortController();
    const sweeping = agents.sweep(stop.signal);
    agents.register("system");
    await agents.place(need("fs", "system"), never);
    const place = agents.place(need("fs", "system"), never);
    let turnedAway = "";
    place.catch((error: Error) => {
      turnedAway = error.message;
    });
    const wait = async (seconds: number, act: () => void) => {
      for (let second = 0; second < seconds; second += 1) {
        act();
        await clock.advance(1_000);
      }
    };
    await wait(600, () => agents.beat("system"));
    expect(turnedAway).toBe("");
    agents.processChanged("system", "backoff", "killed");
    await wait(119, () => {});
    expect(turnedAway).toBe("");
    await wait(3, () => {});
    expect(turnedAway).toBe("find agent system: none was there for 120 s (system backoff, task starting)");
    stop.abort();
    await clock.advance(1_000);
    await sweeping;
  });

  it("forgets who no longer waits", async () => {
    const stop = new AbortController();
    const place = agents.place(need("net"), stop.signal);
    stop.abort(new Error("enough"));
    await expect(place).rejects.toThrow("enough");
    agents.register("task");
    expect(status("task")).toBe("idle");
  });

  it("knows nobody who is not configured", () => {
    expect(() => agents.register("mallory")).toThrow(/not configured/);
    expect(agents.covers(need("pkg"))).toBe(false);
  });
});

describe("the router", () => {
  const candidate = (name: string, more: Partial<Candidate> = {}): Candidate => ({
    name,
    namespaces: ["fs"],
    running: 0,
    runningMax: 2,
    completed: 0,
    alive: true,
    hopeless: false,
    ...more,
  });

  it.each([
    ["the one that is asked for", [candidate("a"), candidate("b")], "b", "b"],
    [
      "nobody while the one that is asked for is busy",
      [candidate("a"), candidate("b", { running: 2 })],
      "b",
      undefined,
    ],
    ["the least loaded", [candidate("a", { running: 1 }), candidate("b")], "", "b"],
    ["a specialist", [candidate("a", { namespaces: ["fs", "net"] }), candidate("b")], "", "b"],
    ["the experienced", [candidate("a"), candidate("b", { completed: 5 })], "", "b"],
    ["nobody who is not there", [candidate("a", { alive: false })], "", undefined],
    ["nobody who does not cover it", [candidate("a", { namespaces: ["net"] })], "", undefined],
  ])("chooses %s", (_, candidates, asked, chosen) => {
    expect(chooseAgent(need("fs", asked), candidates)).toBe(chosen);
  });
});

describe("an assignment", () => {
  let cancelled: string[];
  let recorded: Report[];
  let waited: [string, number][];
  let assignments: Assignments;

  beforeEach(() => {
    cancelled = [];
    recorded = [];
    waited = [];
    assignments = openAssignments((agent, taskId) => cancelled.push(`${agent} ${taskId}`), 60_000);
  });

  const assignment = (
    taskId = "t",
    record: Assignment["record"] = async (one) => {
      recorded.push(one);
      return { kind: "recorded" };
    },
  ): Assignment => ({
    agent: "system",
    handout: {
      ...{ taskId, goalId: "g", description: "d", tool: "fs.read", input: {}, dependsOn: [], createdAt: 0 },
      executionId: `e-${taskId}`,
    },
    taken: () => {},
    waits: (approval, waitsMs) => waited.push([approval, waitsMs]),
    record,
  });
  const report = (taskId = "t"): Report => ({ taskId, success: true, output: "{}", error: "", errorCode: "" });

  it("goes to an agent that waits, and ends when its report is recorded", async () => {
    const next = assignments.next("system", 1_000, never);
    const ending = assignments.give(assignment(), 1_000, never);
    expect(await next).toMatchObject({ taskId: "t" });
    expect(await assignments.next("system", 10, never)).toBeUndefined();
    await assignments.report("system", report());
    expect(await ending).toEqual({ kind: "recorded" });
    await assignments.report("system", report());
    expect(recorded).toHaveLength(1);
  });

  it("is reported by its own agent only, and only once it was fetched", async () => {
    assignments.give(assignment(), 1_000, never);
    await expect(assignments.report("system", report())).rejects.toMatchObject({ code: "NOT_FOUND" });
    await assignments.next("system", 10, never);
    await expect(assignments.report("dev", report())).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(assignments.report("system", report("other"))).rejects.toMatchObject({ code: "NOT_FOUND" });
    await assignments.report("system", report());
  });

  it("is not acknowledged until it is recorded: what cannot be stored is reported again", async () => {
    let away = true;
    const record = async (one: Report) => {
      if (away) throw new Error("away");
      recorded.push(one);
      return { kind: "recorded" } as const;
    };
    const ending = assignments.give(assignment("t", record), 1_000, never);
    await assignments.next("system", 10, never);
    await expect(assignments.report("system", report())).rejects.toThrow("away");
    away = false;
    await assignments.report("system", report());
    expect(await ending).toEqual({ kind: "recorded" });
  });

  it("whose report is being recorded while its agent is lost was done", async () => {
    let finish = () => {};
    const ending = assignments.give(
      assignment("t", () => new Promise((resolve) => (finish = () => resolve({ kind: "recorded" })))),
      1_000,
      never,
    );
    await assignments.next("system", 10, never);
    const reported = assignments.report("system", report());
    assignments.lose("system", "it died");
    finish();
    await reported;
    expect(await ending).toEqual({ kind: "recorded" });
  });

  it("is lost with its agent, whether fetched or not", async () => {
    const endings = [assignments.give(assignment("a"), 1_000, never), assignments.give(assignment("b"), 1_000, never)];
    await assignments.next("system", 10, never);
    assignments.lose("system", "it died");
    expect(await Promise.all(endings)).toEqual([
      { kind: "lost", reason: "it died" },
      { kind: "lost", reason: "it died" },
    ]);
  });

  it("that takes too long is lost, and its agent told to stop", async () => {
    const ending = assignments.give(assignment(), 50, never);
    await assignments.next("system", 10, never);
    expect(await ending).toMatchObject({
      kind: "lost",
      reason: expect.stringContaining("no result from agent system"),
    });
    expect(cancelled).toEqual(["system t"]);
  });

  it("that waits for a person has a person's time, and its own after it", async () => {
    assignments = openAssignments((agent, taskId) => cancelled.push(`${agent} ${taskId}`), 40 * 86_400_000);
    const ending = assignments.give(assignment(), 50, never);
    await assignments.next("system", 10, never);
    assignments.waits("system", "t", "an approval");
    expect(waited).toEqual([["an approval", 40 * 86_400_000 + 50]]);
    await new Promise((resolve) => setTimeout(resolve, 80));
    await assignments.report("system", report());
    expect(await ending).toEqual({ kind: "recorded" });
    expect(cancelled).toEqual([]);
  });

  it("of whose call its agent knows nothing is lost with the reason", async () => {
    const ending = assignments.give(
      assignment("t", async () => ({ kind: "lost", reason: "away" })),
      1_000,
      never,
    );
    await assignments.next("system", 10, never);
    await assignments.report("system", report());
    expect(await ending).toEqual({ kind: "lost", reason: "away" });
  });

  it("that is cancelled before it was fetched is never handed out", async () => {
    const stop = new AbortController();
    const ending = assignments.give(assignment(), 1_000, stop.signal);
    stop.abort(new Error("cancelled"));
    await expect(ending).rejects.toThrow("cancelled");
    expect(cancelled).toEqual([]);
    expect(await assignments.next("system", 10, never)).toBeUndefined();
  });

  it("is not given to a poll that has gone away", async () => {
    const gone = new AbortController();
    const poll = assignments.next("system", 1_000, gone.signal);
    gone.abort();
    expect(await poll).toBeUndefined();
    assignments.give(assignment(), 1_000, never);
    expect(await assignments.next("system", 10, never)).toMatchObject({ taskId: "t" });
  });
});
