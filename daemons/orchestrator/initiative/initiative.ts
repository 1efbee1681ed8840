import { mkdirSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { type Autonomy as AutonomyLevel, autonomyPath, stopPath } from "#lib/config/effective";
import { replaceFile } from "#lib/data/files";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import type { ApiGatewayService } from "#proto/aios/api_gateway";
import { InitService } from "#proto/aios/init";
import type { MemoryServiceService } from "#proto/aios/memory";
import type { AIRuntimeService } from "#proto/aios/runtime";
import type { ToolRegistryService } from "#proto/aios/tools";
import type { AgentConfig } from "../agents/agent-config.ts";
import type { GroupOf } from "../agents/agent-groups.ts";
import type { ProcessState } from "../agents/agent-processes.ts";
import { openStanding, type Standing } from "../agents/standing-grants.ts";
import { openGreed } from "../agents/usage-limits.ts";
import { whenAsked } from "../declarations.ts";
import { type Fits, openDurable } from "../durable.ts";
import type { Goal } from "../goal.ts";
import type { Goals } from "../goals/goals.ts";
import type { Submission } from "../goals/submission.ts";
import type { DutiesDoor } from "../services/duties-service.ts";
import type { Further } from "../services/further-calls.ts";
import { type AutonomyRecord, isAutonomyRecord, openAutonomy } from "./autonomy.ts";
import { openCapabilityRequests } from "./capability-requests.ts";
import { loadCron } from "./cron.ts";
import { routeInference } from "./inference.ts";
import { memoryEvents } from "./memory-events.ts";
import { openNodes } from "./nodes.ts";
import { type Notice, openNotices, sayNotice } from "./notices.ts";
import { isServiceList, openRegistry, type RegisteredService } from "./registry.ts";
import { isScheduleList, openSchedules, type Schedule } from "./schedules.ts";
import { secCalls } from "./sec-calls.ts";
import { stopNoteIn } from "./stop-note.ts";
import { type Given, isGivenMap, openTriggers, readTriggers, type Triggers } from "./triggers.ts";
import { followUnits } from "./units.ts";

export interface InitiativeParts {
  readonly paths: { readonly run: string; readonly etc: string };
  /** The orchestrator's own folder. */
  readonly folder: string;
  readonly configured: AutonomyLevel;
  readonly agents: readonly AgentConfig[];
  readonly goals: Goals;
  readonly clock: Clock;
  readonly log: Log;
  readonly memory: Client<typeof MemoryServiceService>;
  readonly registry: Client<typeof ToolRegistryService>;
  readonly runtime: Client<typeof AIRuntimeService>;
  readonly gateway: Client<typeof ApiGatewayService>;
  readonly initAddress: string;
  readonly groupOf: GroupOf;
  freezeAgents(frozen: boolean): void;
  /** Keeps what agents have started from running on, or lets it. */
  hold(held: boolean): Promise<void>;
}

export interface Initiative {
  readonly further: Further;
  readonly standing: Standing;
  readonly heldBack: Triggers["heldBack"];
  readonly door: DutiesDoor;
  /** Hears of each change of an agent's process: who has ended holds nothing any more, and it is told why. */
  agentEnded(agent: string, state: ProcessState, why: string): void;
  /** A goal has begun to wait for a person: one notice. */
  goalWaits(goal: Goal, forWhat: string): void;
  /** What the machine does of itself, until `signal` is aborted; called once goals are taken. `up` is told when it is up. */
  begin(signal: AbortSignal, up: () => void): void;
}

/** How long the duties of an agent rest that took too much. */
const restMs = 600_000;

/** How often it is looked whether the machine is up, and at what agents use of the processors. */
const bootLookMs = 500;
const usageLookMs = 15_000;

/** The records in the orchestrator's folder, and what was lost of them. */
function recordsIn(folder: string, clock: Clock, log: Log) {
  const losses: string[] = [];
  const lost = (text: string) => {
    log.error(text);
    losses.push(text);
  };
  const kept = <T>(name: string, initial: T, fits: Fits, whenUnreadable?: T) =>
    openDurable({
      path: `${folder}/${name}.json`,
      initial,
      fits,
      clock,
      lost,
      ...(whenUnreadable && { whenUnreadable }),
    });
  return { kept, losses };
}

/** All by which the machine acts without being told each time: levels, schedules, triggers, the agents' duties. */
export function openInitiative(parts: InitiativeParts): Initiative {
  const { paths, folder, configured, agents, goals, clock, log } = parts;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { kept, losses } = recordsIn(folder, clock, log);
  // Who cannot tell whether the machine was stopped leaves it stopped.
  const stopped: AutonomyRecord = {
    level: "",
    stop: { by: "core", reason: "what was kept is unreadable", at: clock.now() },
  };
  const record = kept<AutonomyRecord>("autonomy", { level: "" }, isAutonomyRecord, stopped);
  const sec = secCalls(parts.registry, () => uuidv7(clock.now()));
  const events = memoryEvents(parts.memory, clock, log);
  const notices = openNotices();
  const autonomy = openAutonomy({
    record,
    note: stopNoteIn(stopPath(paths.run)),
    configured,
    goals,
    freezeAgents: parts.freezeAgents,
    hold: parts.hold,
    clock,
    log,
  });
  const standing = openStanding({
    ...{ agents, clock, log, grant: sec.grantStanding, revoke: sec.revokeStanding },
    setCpuCores: (agent, cores) => parts.groupOf(agent).setCpuCores(cores),
  });
  autonomy.onChange(async () => {
    replaceFile(autonomyPath(paths.run), autonomy.level);
    if (autonomy.stop === undefined) standing.goOn();
    else await standing.halt();
  });

  const submit = async (
    goal: Pick<Submission, "id" | "role" | "priority" | "source" | "dedupeKey"> & { words: string; tag: string },
    metadata = "",
  ) =>
    await goals.submit({
      ...{ id: goal.id, description: goal.words, priority: goal.priority, tags: [goal.tag], metadata },
      ...{ source: goal.source, role: goal.role ?? "", dependsOn: [], dedupeKey: goal.dedupeKey },
    });
  const schedules = openSchedules({
    record: kept<readonly Schedule[]>("schedules", [], isScheduleList),
    ...{ clock, log, loadCron },
    submit: async ({ id, goal, priority, role }, goalId) => {
      autonomy.permit("person");
      const source = `schedule:${id}`;
      return await submit({ id: goalId, words: goal, priority, source, role, tag: "schedule", dedupeKey: source });
    },
    told: ({ id, goal }, what) => warn("schedule.missed", id, `"${beginning(goal, 200)}": ${what}`),
  });
  const declared = whenAsked(
    () => readTriggers(`${paths.etc}/triggers`),
    (text) => log.error("a file cannot be used", { fault: text }),
  );
  const triggers = openTriggers({
    triggers: () => declared().triggers,
    record: kept<Readonly<Record<string, Given>>>("triggers", {}, isGivenMap),
    ...{ clock, log },
    submit: async ({ trigger, words, priority, dedupeKey, notice }) => {
      autonomy.permit("machine");
      const goal = { words, priority, source: `trigger:${trigger}`, tag: "proactive", dedupeKey };
      return await submit(goal, JSON.stringify({ noticed: sayNotice(notice) }));
    },
    asks: async (id) => (await goals.find(id)).state === "awaiting_input",
  });
  const heard = async (notice: Notice) => {
    notices.tell(notice);
    await triggers.consider(notice);
  };
  const noticed = async (notice: Notice) => {
    await events.push(notice);
    await heard(notice);
  };
  const warn = (category: string, subject: string, detail: string) =>
    void noticed({ category, severity: "warning", subject, detail, source: "orchestrator" });
  for (const text of losses) warn("state.lost", "orchestrator", text);
  const greed = openGreed({
    clock,
    greedy(agent, reason) {
      const why = standing.rest(agent, reason, restMs);
      warn("agent.greedy", agent, `its duties rest for ${restMs / 60_000} minutes: ${why}`);
    },
  });
  const registry = openRegistry(kept<readonly RegisteredService[]>("services", [], isServiceList), clock);
  const { grantOnRequest: grant, revokeRequested: revoke } = sec;
  const capabilities = openCapabilityRequests({ agents, autonomy, grant, revoke });
  const infer: Further["infer"] = (request, asker, signal) => routeInference(request, asker, parts, signal);

  return {
    further: { autonomy, greed, schedules, nodes: openNodes(clock), registry, capabilities, infer },
    standing,
    heldBack: triggers.heldBack,
    door: { greed, registry, notices, measured: events.measure, noticed },
    agentEnded(agent, state, why) {
      if (state === "starting") return;
      standing.lost(agent);
      if (state !== "stopped") warn("agent.ended", agent, why);
    },
    goalWaits: ({ id }, forWhat) => warn("goal.waits", id, forWhat),
    begin(signal, up) {
      const init = connect(InitService, parts.initAddress);
      signal.addEventListener("abort", () => init.close(), { once: true });
      void whenUp(init, clock, signal).then((isUp) => {
        if (!isUp) return;
        up();
        declared();
        standing.begin();
        void schedules.run(signal);
        void goals.sweep(signal);
        void events.watch(heard, signal);
        void followUnits(init, noticed, { clock, log }, signal);
      });
      void watchUsage(parts, (agent, cpuMs) => greed.used(agent, cpuMs), signal);
    },
  };
}

/** Resolves with true when the boot is over, with false when `signal` was aborted first. */
async function whenUp(init: Client<typeof InitService>, clock: Clock, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    const boot = await init.getBoot({}, { timeoutMs: 1_000 }).catch(() => undefined);
    if (boot !== undefined && boot.state !== "booting") return true;
    await clock.sleep(bootLookMs, signal).catch(() => {});
  }
  return false;
}

async function watchUsage(
  { agents, groupOf, clock }: InitiativeParts,
  used: (agent: string, cpuMs: number) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(usageLookMs, signal).catch(() => {});
    for (const { name } of agents) used(name, groupOf(name).cpuMs());
  }
}
