import { describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import type { AgentConfig } from "../agents/agent-config.ts";
import { heldMs, openStandingGrants, restCores, standingMs } from "../agents/standing-grants.ts";
import { callsPerMinuteMax, openUsageLimits, refusalsMax } from "../agents/usage-limits.ts";
import { noPlan } from "../goal.ts";
import { subTaskGoal } from "../goals/subtasks.ts";
import { type AutonomyRecord, openAutonomy } from "../initiative/autonomy.ts";
import { openCapabilityRequests } from "../initiative/capability-requests.ts";
import { nodeSilentMs, openNodes } from "../initiative/nodes.ts";
import { healthKeptMs, openRegistry, type RegisteredService } from "../initiative/registry.ts";
import type { Stop } from "../initiative/stop-note.ts";
import { durableTwin } from "../testing/further-twin.ts";

const agent: AgentConfig = {
  name: "system",
  type: "system",
  role: "r",
  brief: "b",
  namespaces: ["fs", "service"],
  standing: ["service:read"],
  requestable: ["fs:read:/var/log/**", "service:read"],
  concurrentTasksMax: 1,
  heartbeatIntervalMs: 1_000,
  limits: { memoryMiB: 64, pids: 32, cpuCores: 1 },
  restart: { max: 1, windowMs: 1_000, delayMs: 1_000 },
};

const codeOf = (act: () => unknown): string => {
  try {
    act();
    return "";
  } catch (error) {
    return (error as AiosError).code;
  }
};

/** Lets promises that are settled go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("autonomy", () => {
  let toolsAway = false;
  const open = (record = durableTwin<AutonomyRecord>({ level: "" }), noted: { stop?: Stop | undefined } = {}) => {
    const acts: string[] = [];
    const goals = {
      hold: async (reason: string) => void acts.push(`hold: ${reason}`),
      release: async () => void acts.push("release"),
    };
    const clock = new ManualClock();
    const held: string[] = [];
    const autonomy = openAutonomy({
      ...{ record, configured: "full", goals, clock, log: silentLog },
      note: {
        read: () => noted.stop,
        write: (stop) => {
          noted.stop = stop;
        },
      },
      freezeAgents: (frozen) => held.push(`${frozen ? "freeze" : "thaw"} agents`),
      hold: async (all) => {
        if (toolsAway) throw new Error("aios-tools is away");
        held.push(all ? "hold" : "release");
      },
    });
    return { record, noted, acts, held, autonomy };
  };

  it("holds what agents have started, until it is resumed; after a restart anew, but the agents start", async () => {
    const first = open();
    await first.autonomy.emergencyStop("operator:o", "smoke");
    expect(first.held).toEqual(["hold", "freeze agents"]);
    const second = open(first.record);
    expect(second.held).toEqual(["hold"]);
    toolsAway = true;
    await expect(second.autonomy.emergencyResume("operator:o")).rejects.toThrow("aios-tools is away");
    expect(second.autonomy.stop).toMatchObject({ reason: "smoke" });
    expect(second.noted.stop).toMatchObject({ reason: "smoke" });
    toolsAway = false;
    await second.autonomy.emergencyResume("operator:o");
    expect(second.noted.stop).toBeUndefined();
    expect(second.held).toEqual(["hold", "release", "thaw agents"]);
    expect(open(first.record).held).toEqual([]);
  });

  it("is stopped by what was noted of a stop that the disk did not take", async () => {
    const refuses = { ...durableTwin<AutonomyRecord>({ level: "manual" }) };
    refuses.setAnyway = (next) => {
      refuses.value = next;
      return "the data volume is full";
    };
    const first = open(refuses);
    await first.autonomy.emergencyStop("operator:o", "smoke");
    expect(first.autonomy.unstored).toBe("the data volume is full");
    const later = durableTwin<AutonomyRecord>({ level: "manual" });
    const second = open(later, first.noted);
    expect(second.autonomy.stop).toMatchObject({ by: "operator:o", reason: "smoke" });
    expect(second.acts).toEqual(["hold: the machine was stopped by operator:o: smoke"]);
    expect([later.value.stop?.reason, later.value.level, second.autonomy.unstored]).toEqual(["smoke", "manual", ""]);
  });

  it("is held again when it cannot be stored that it goes on", async () => {
    const full = durableTwin<AutonomyRecord>({ level: "" });
    const { autonomy, noted, held } = open(full);
    await autonomy.emergencyStop("operator:o", "smoke");
    full.set = () => {
      throw new AiosError("RESOURCE_EXHAUSTED", "store: the data volume is full");
    };
    await expect(autonomy.emergencyResume("operator:o")).rejects.toThrow("full");
    expect(held).toEqual(["hold", "freeze agents", "release", "hold"]);
    expect([autonomy.stop, noted.stop]).toMatchObject([{ reason: "smoke" }, { reason: "smoke" }]);
  });

  it("is stopped until it is resumed, also after a restart", async () => {
    const first = open();
    await first.autonomy.emergencyStop("operator:o", "smoke");
    expect(first.acts).toEqual(["hold: the machine was stopped by operator:o: smoke"]);
    expect(codeOf(() => first.autonomy.permit("person"))).toBe("FAILED_PRECONDITION");
    const second = open(first.record);
    expect(second.acts).toEqual(first.acts);
    expect(codeOf(() => second.autonomy.permit("person"))).toBe("FAILED_PRECONDITION");
    await second.autonomy.emergencyResume("operator:o");
    expect(second.acts.at(-1)).toBe("release");
    second.autonomy.permit("machine");
    expect(open(first.record).acts).toEqual([]);
  });

  it("at manual begins only what a person asks for", () => {
    const { autonomy, record } = open();
    autonomy.setLevel("manual", "operator:o");
    autonomy.permit("person");
    expect(codeOf(() => autonomy.permit("machine"))).toBe("FAILED_PRECONDITION");
    expect(open(record).autonomy.level).toBe("manual");
    autonomy.setLevel("", "operator:o");
    expect(autonomy.level).toBe("full");
  });
});

describe("capabilities on request", () => {
  const open = (level: "full" | "manual" = "full") => {
    const granted: string[] = [];
    const grant = async (name: string, capabilities: readonly string[], _: string, seconds: number) => {
      granted.push(`${name} ${capabilities.join(" ")} ${seconds}`);
      return seconds;
    };
    const autonomy = { level, stop: undefined };
    return { granted, requests: openCapabilityRequests({ agents: [agent], autonomy, grant, revoke: async () => 0 }) };
  };

  it("are granted within what the agent's file lists, for a while", async () => {
    const { granted, requests } = open();
    expect(await requests.request("system", ["fs:read:/var/log/dpkg.log"], "to look", 0)).toEqual({ expiresAt: 3_600 });
    expect(granted).toEqual(["system fs:read:/var/log/dpkg.log 3600"]);
  });

  it.each([
    ["outside the list", ["fs:write:/etc/passwd"], "why", 1, "requestable"],
    ["of another namespace", ["net:connect:h"], "why", 1, "namespaces"],
    ["without a reason", ["service:read"], " ", 1, "no reason"],
    ["for too long", ["service:read"], "why", 25, "hours"],
  ])("are denied %s, and it is said why", async (_, capabilities, reason, hours, said) => {
    const { granted, requests } = open();
    expect(await requests.request("system", capabilities, reason, hours)).toEqual({
      denial: expect.stringContaining(said),
    });
    expect(granted).toEqual([]);
  });

  it("are denied at manual", async () => {
    expect(await open("manual").requests.request("system", ["service:read"], "why", 1)).toHaveProperty("denial");
  });
});

const never = new AbortController().signal;

describe("standing grants", () => {
  const open = (keepsLimits = false) => {
    const clock = new ManualClock();
    const held = new Set<string>();
    const cores: (number | undefined)[] = [];
    let grants = 0;
    const standing = openStandingGrants({
      agents: [agent],
      clock,
      log: silentLog,
      grant: async (name) => {
        grants += 1;
        held.add(name);
      },
      revoke: async (name) => void held.delete(name),
      setCpuCores: (_, given) => keepsLimits && cores.push(given) > 0,
    });
    return { clock, held, cores, standing, grants: () => grants };
  };

  it("are in force before an agent is on duty, and are renewed before they end", async () => {
    const { clock, held, standing, grants } = open();
    const early = standing.onDuty("system", never);
    await clock.advance(heldMs);
    expect(await early).toBe(false);
    const next = standing.onDuty("system", never);
    const gone = new AbortController();
    const died = standing.onDuty("system", gone.signal);
    gone.abort();
    expect(await died).toBe(false);
    standing.begin();
    expect(await next).toBe(true);
    expect([...held]).toEqual(["system"]);
    await clock.advance(standingMs / 2 + 1);
    expect(await standing.onDuty("system", never)).toBe(true);
    await settle();
    expect(grants()).toBe(2);
  });

  it("are waited for by nobody when the orchestrator ends", async () => {
    const { standing } = open();
    const waiting = standing.onDuty("system", never);
    standing.end();
    expect([await waiting, await standing.onDuty("system", never)]).toEqual([false, false]);
  });

  it("of an orchestrator that was killed end with a stop", async () => {
    const { held, standing } = open();
    held.add("system");
    await standing.halt();
    expect(held.size).toBe(0);
  });

  it("end when the machine is stopped, when the agent is lost, and while its duties rest", async () => {
    const { clock, held, standing } = open();
    const onDuty = () => standing.onDuty("system", never);
    standing.begin();
    expect(await onDuty()).toBe(true);
    await standing.halt();
    expect([await onDuty(), held.size]).toEqual([false, 0]);
    standing.goOn();
    expect(await onDuty()).toBe(true);
    standing.lost("system");
    await settle();
    expect(held.size).toBe(0);
    expect(await onDuty()).toBe(true);
    standing.rest("system", "too much", 1_000);
    expect(await onDuty()).toBe(false);
    expect(standing.resting()).toEqual(["system: too much"]);
    await clock.advance(1_000);
    expect(await onDuty()).toBe(true);
  });

  it("rest with little of the processors, until the last rest is over", async () => {
    const { clock, cores, standing } = open(true);
    standing.rest("system", "too much", 1_000);
    await clock.advance(900);
    const why = standing.rest("system", "still too much", 1_000);
    expect(why).toBe("still too much; it has 0.1 of a processor meanwhile");
    await clock.advance(900);
    expect([standing.restOf("system"), cores]).toEqual([why, [restCores, restCores]]);
    await clock.advance(100);
    expect([standing.restOf("system"), cores]).toEqual(["", [restCores, restCores, undefined]]);
  });
});

describe("a greedy agent", () => {
  const open = () => {
    const clock = new ManualClock();
    const told: string[] = [];
    return {
      clock,
      told,
      usage: openUsageLimits({ clock, exceeded: (name, reason) => told.push(`${name}: ${reason}`) }),
    };
  };

  it("is refused after so many calls a minute, and reported when it goes on", async () => {
    const { clock, told, usage } = open();
    for (let n = 0; n < callsPerMinuteMax; n += 1) usage.count("dev");
    for (let n = 1; n < refusalsMax; n += 1) expect(codeOf(() => usage.count("dev"))).toBe("RESOURCE_EXHAUSTED");
    expect(told).toEqual([]);
    expect(codeOf(() => usage.count("dev"))).toBe("RESOURCE_EXHAUSTED");
    expect(told).toEqual([expect.stringContaining("dev: it went on")]);
    usage.count("system");
    await clock.advance(60_001);
    usage.count("dev");
  });

  it("is reported when it uses a processor for a minute", async () => {
    const { clock, told, usage } = open();
    usage.used("dev", 1_000);
    await clock.advance(61_000);
    usage.used("dev", 60_000);
    expect(told).toEqual([expect.stringContaining("dev: it used 97 %")]);
    await clock.advance(61_000);
    usage.used("dev", 61_000);
    expect(told).toHaveLength(1);
  });
});

describe("registered services and nodes", () => {
  const nginx = {
    ...{ name: "nginx", address: "127.0.0.1", port: 80, protocol: "http", healthCheckPath: "/" },
    ...{ managedBy: "nginx", registeredBy: "operator:o" },
  };

  it("a service is as healthy as the monitor has said lately", async () => {
    const clock = new ManualClock();
    const registry = openRegistry(durableTwin<readonly RegisteredService[]>([]), clock);
    registry.register(nginx);
    expect(registry.find("nginx").status).toBe("unknown");
    registry.note("nginx", false);
    expect(registry.find("nginx").status).toBe("unhealthy");
    await clock.advance(healthKeptMs + 1);
    expect(registry.find("nginx").status).toBe("unknown");
    expect(codeOf(() => registry.find("other"))).toBe("NOT_FOUND");
  });

  it("an agent cannot take a service over, and none lies outside the machine", () => {
    const registry = openRegistry(durableTwin<readonly RegisteredService[]>([]), new ManualClock());
    registry.register(nginx);
    expect(codeOf(() => registry.register({ ...nginx, registeredBy: "agent:dev" }))).toBe("PERMISSION_DENIED");
    expect(codeOf(() => registry.register({ ...nginx, address: "192.0.2.1" }))).toBe("INVALID_ARGUMENT");
  });

  it("a node is healthy while it is heard of", async () => {
    const clock = new ManualClock();
    const nodes = openNodes(clock);
    const load = { cpuUsage: 5, memoryUsage: 6, activeTasks: 1 };
    expect(codeOf(() => nodes.beat("n1", load))).toBe("NOT_FOUND");
    nodes.register({ id: "n1", hostname: "h", address: "a", agents: ["system"] });
    nodes.beat("n1", load);
    expect(nodes.list(false)).toMatchObject([{ id: "n1", healthy: true, activeTasks: 1 }]);
    await clock.advance(nodeSilentMs + 1);
    expect([nodes.list(false).length, nodes.list(true).length]).toEqual([0, 1]);
  });
});

describe("sub tasks", () => {
  const task = {
    ...{ id: "t", goalId: "g", index: 0, step: "s", description: "d", tool: "fs.read", wantedAgent: "", template: {} },
    ...{ expect: {}, also: [], dependsOn: [], createdAt: 0, state: "in_progress" as const, agent: "dev", failures: [] },
    ...{ tries: 1, waitsFor: "", startedAt: 1, completedAt: 0, error: "" },
  };
  const goal = {
    ...{
      id: "g",
      description: "d",
      priority: 1,
      role: "operator" as const,
      source: "operator:o",
      tags: [],
      metadata: {},
      dependsOn: [],
    },
    ...{ dedupeKey: "", createdAt: 0, plan: noPlan, questions: [], state: "in_progress" as const, updatedAt: 0 },
    ...{ failure: "", result: "", tasks: [task], decisions: [] },
  };
  const wish = { agent: "dev", description: "look", targetAgent: "" };

  it("become goals of the agent that asks, below the one that it works on", () => {
    const made = subTaskGoal({ goal, task }, wish, 0);
    expect(made).toMatchObject({ source: "agent:dev", role: "operator", priority: 1, tags: ["sub-task"] });
    expect(JSON.parse(made.metadata)).toEqual({ parent_goal: "g", parent_task: "t", sub_task_depth: 1 });
  });

  it("are refused when they are too deep, too many, or of a task that the agent does not have", () => {
    const deep = { ...goal, tags: ["sub-task"], metadata: { sub_task_depth: 3 } };
    expect(codeOf(() => subTaskGoal({ goal: deep, task }, wish, 0))).toBe("FAILED_PRECONDITION");
    expect(codeOf(() => subTaskGoal({ goal, task }, wish, 5))).toBe("FAILED_PRECONDITION");
    expect(codeOf(() => subTaskGoal({ goal, task }, { ...wish, agent: "system" }, 0))).toBe("FAILED_PRECONDITION");
  });
});
