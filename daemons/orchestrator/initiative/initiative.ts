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
import type { InferenceRequest, InferenceResponse } from "#proto/aios/common";
import { InitService } from "#proto/aios/init";
import type { MemoryServiceService } from "#proto/aios/memory";
import type { AIRuntimeService } from "#proto/aios/runtime";
import type { ToolRegistryService } from "#proto/aios/tools";
import {
  type AgentConfig,
  type GroupOf,
  openStandingGrants,
  openUsageLimits,
  type ProcessState,
  type StandingGrants,
  type UsageLimits,
} from "../agents/index.ts";
import { whenAsked } from "../declarations.ts";
import { type Durable, type Fits, openDurable } from "../durable.ts";
import type { Goal } from "../goal.ts";
import type { Goals, Submission } from "../goals/index.ts";
import { type Autonomy, type AutonomyRecord, isAutonomyRecord, openAutonomy } from "./autonomy.ts";
import { type CapabilityRequests, openCapabilityRequests } from "./capability-requests.ts";
import { loadCron } from "./cron.ts";
import { routeInference } from "./inference.ts";
import { memoryEvents } from "./memory-events.ts";
import { type Nodes, openNodes } from "./nodes.ts";
import { type Notice, type Notices, openNotices, sayNotice } from "./notices.ts";
import { isServiceList, openRegistry, type RegisteredService, type ServiceRegistry } from "./registry.ts";
import { isScheduleList, openSchedules, type Schedule, type Schedules } from "./schedules.ts";
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

/** Means of the calls beside those of goals, agents and tasks. */
export interface Further {
  readonly autonomy: Autonomy;
  readonly usage: UsageLimits;
  readonly schedules: Schedules;
  readonly nodes: Nodes;
  readonly registry: ServiceRegistry;
  readonly capabilities: CapabilityRequests;
  infer(request: InferenceRequest, asker: string, signal: AbortSignal): Promise<InferenceResponse>;
}

/** Means of the calls of agents' duties. */
export interface DutiesMeans {
  readonly usage: UsageLimits;
  readonly registry: ServiceRegistry;
  readonly notices: Notices;
  /** Keeps a measurement in memory. */
  measure(key: string, value: number): Promise<void>;
  /** Keeps a notice in memory, and gives the goals that it is a reason for. */
  notice(notice: Notice): Promise<void>;
}

interface Initiative {
  readonly further: Further;
  readonly standing: StandingGrants;
  readonly heldBack: Triggers["heldBack"];
  readonly duties: DutiesMeans;
  /** Hears of each change of an agent's process: who has ended holds nothing any more, and it is told why. */
  agentEnded(agent: string, state: ProcessState, why: string): void;
  /** A goal has begun to wait for a person: one notice. */
  goalWaits(goal: Goal, forWhat: string): void;
  /**
   * Begins what the machine does by itself, until `signal` is aborted; called once goals are taken. `up` is told when
   * it is up.
   */
  begin(signal: AbortSignal, up: () => void): void;
}

/** How long the duties of an agent rest that took too much. */
const restMs = 600_000;

/** How often it is looked whether the machine is up, and at what agents use of the processors. */
const bootLookMs = 500;
const usageLookMs = 15_000;

/** All by which the machine acts without being told each time: levels, schedules, triggers, the agents' duties. */
export function openInitiative(parts: InitiativeParts): Initiative {
  const { agents, clock, log } = parts;
  const records = openRecords(parts);
  const sec = secCalls(parts.registry, () => uuidv7(clock.now()));
  const autonomy = autonomyOver(records.autonomy, parts);
  const standing = standingUnder(autonomy, sec, parts);
  const give = goalGiver(parts.goals, autonomy);
  const triggers = triggersOver(records.triggers, give, parts);
  const noticing = openNoticing(triggers, parts);
  const { warn } = noticing;
  for (const text of records.losses) warn("state.lost", "orchestrator", text);
  const schedules = openSchedules({
    record: records.schedules,
    ...{ clock, log, loadCron },
    submit: async ({ id, goal, priority, role }, goalId) => {
      const source = `schedule:${id}`;
      return await give("person", {
        ...{ id: goalId, description: goal, priority, source, role, tags: ["schedule"], dedupeKey: source },
      });
    },
    told: ({ id, goal }, what) => warn("schedule.missed", id, `"${beginning(goal, 200)}": ${what}`),
  });
  const usage = openUsageLimits({
    clock,
    exceeded(agent, reason) {
      const why = standing.rest(agent, reason, restMs);
      warn("agent.greedy", agent, `its duties rest for ${restMs / 60_000} minutes: ${why}`);
    },
  });
  const registry = openRegistry(records.services, clock);
  const { grantOnRequest: grant, revokeRequested: revoke } = sec;
  const capabilities = openCapabilityRequests({ agents, autonomy, grant, revoke });
  const infer: Further["infer"] = (request, asker, signal) => routeInference(request, asker, parts, signal);
  return {
    further: { autonomy, usage, schedules, nodes: openNodes(clock), registry, capabilities, infer },
    standing,
    heldBack: triggers.heldBack,
    duties: { usage, registry, ...noticing },
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
        triggers.read();
        standing.begin();
        void schedules.run(signal);
        void parts.goals.sweep(signal);
        void noticing.watch(signal);
        void followUnits(init, noticing.notice, { clock, log }, signal);
      });
      void watchUsage(parts, (agent, cpuMs) => usage.used(agent, cpuMs), signal);
    },
  };
}

/** The records in the orchestrator's folder, and what was lost of them. */
function openRecords({ folder, clock, log }: InitiativeParts) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
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
  // Who cannot tell whether the machine was stopped leaves it stopped.
  const stop = { by: "core", reason: "what was kept is unreadable", at: clock.now() };
  return {
    autonomy: kept<AutonomyRecord>("autonomy", { level: "" }, isAutonomyRecord, { level: "", stop }),
    schedules: kept<readonly Schedule[]>("schedules", [], isScheduleList),
    triggers: kept<Readonly<Record<string, Given>>>("triggers", {}, isGivenMap),
    services: kept<readonly RegisteredService[]>("services", [], isServiceList),
    losses,
  };
}

/** The level and the stop; what comes of them is told to other daemons by a file. */
function autonomyOver(record: Durable<AutonomyRecord>, parts: InitiativeParts): Autonomy {
  const { paths, configured, goals, freezeAgents, hold, clock, log } = parts;
  const note = stopNoteIn(stopPath(paths.run));
  const autonomy = openAutonomy({ record, note, configured, goals, freezeAgents, hold, clock, log });
  autonomy.onChange(async () => replaceFile(autonomyPath(paths.run), autonomy.level));
  return autonomy;
}

/** The agents' standing grants, none while the machine is stopped. */
function standingUnder(autonomy: Autonomy, sec: ReturnType<typeof secCalls>, parts: InitiativeParts): StandingGrants {
  const { agents, groupOf, clock, log } = parts;
  const standing = openStandingGrants({
    ...{ agents, clock, log, grant: sec.grantStanding, revoke: sec.revokeStanding },
    setCpuCores: (agent, cores) => groupOf(agent).setCpuCores(cores),
  });
  autonomy.onChange(async () => {
    if (autonomy.stop === undefined) standing.goOn();
    else await standing.halt();
  });
  return standing;
}

type GivenGoal = Pick<Submission, "id" | "description" | "priority" | "tags" | "source" | "role" | "dedupeKey"> &
  Partial<Pick<Submission, "metadata">>;

type Give = (initiative: "person" | "machine", goal: GivenGoal) => Promise<string>;

/** Gives goals in the name of schedules and triggers, as far as that is permitted. */
const goalGiver =
  (goals: Pick<Goals, "submit">, autonomy: Pick<Autonomy, "permit">): Give =>
  async (initiative, goal) => {
    autonomy.permit(initiative);
    return await goals.submit({ metadata: "", role: "", ...goal, dependsOn: [] });
  };

/** The triggers of the image; `read` reads their files, which the first notice would do. */
function triggersOver(record: Durable<Readonly<Record<string, Given>>>, give: Give, parts: InitiativeParts) {
  const { paths, goals, clock, log } = parts;
  const declared = whenAsked(
    () => readTriggers(`${paths.etc}/triggers`),
    (text) => log.error("a file cannot be used", { fault: text }),
  );
  const triggers = openTriggers({
    triggers: () => declared().triggers,
    record,
    ...{ clock, log },
    submit: async ({ trigger, words, priority, dedupeKey, notice }) => {
      const metadata = JSON.stringify({ noticed: sayNotice(notice) });
      return await give("machine", {
        ...{ description: words, priority, tags: ["proactive"], source: `trigger:${trigger}`, dedupeKey, metadata },
      });
    },
    asks: async (id) => (await goals.find(id)).state === "awaiting_input",
  });
  return { ...triggers, read: () => void declared() };
}

/** Notices of this machine: kept in memory, told to listeners, and a reason for goals. */
function openNoticing(triggers: Pick<Triggers, "consider">, { memory, clock, log }: InitiativeParts) {
  const events = memoryEvents(memory, clock, log);
  const notices = openNotices();
  const passOn = async (notice: Notice) => {
    notices.tell(notice);
    await triggers.consider(notice);
  };
  const take = async (notice: Notice) => {
    await events.push(notice);
    await passOn(notice);
  };
  return {
    notices,
    notice: take,
    measure: events.measure,
    /** The orchestrator's own word of something. */
    warn: (category: string, subject: string, detail: string) =>
      void take({ category, severity: "warning", subject, detail, source: "orchestrator" }),
    /** Hears what other daemons have put down in memory, until the signal is aborted. */
    watch: (signal: AbortSignal) => events.watch(passOn, signal),
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
