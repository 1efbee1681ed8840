/**
 * An agent that hangs is replaced. After 15 s without a beat its tasks go to another; after 30 s its process is ended,
 * with all in its group, and started again like one that was killed. So is one that has not registered two minutes
 * after its start.
 */
import { isWithin } from "#lib/capability";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { AgentConfig } from "./agent-config.ts";
import type { ProcessState } from "./agent-processes.ts";
import { openQueues, type Place } from "./queues.ts";
import { type Candidate, chooseAgent, isAttended, type Need } from "./router.ts";

/** Silence after which an agent is dead: its tasks go to another. */
const deadAfterMs = 15_000;

/** Silence after which an agent hangs and is replaced: it had as long again to be heard of. */
const hungAfterMs = 30_000;

/**
 * Time for a process to register before it is taken for hung. Starts take seconds, tens of seconds under load and
 * emulation.
 */
const startsWithinMs = 120_000;

/** How often the registry looks for dead agents. */
const sweepIntervalMs = 1_000;

/** When the registry itself comes so late it was the machine that stood still, and no agent could be heard. */
const stallMs = 5_000;

type AgentStatus = ProcessState | "idle" | "active" | "dead";

/** An agent as others see it. Times are milliseconds since the epoch. */
export interface Agent {
  readonly name: string;
  readonly type: string;
  readonly namespaces: readonly string[];
  readonly status: AgentStatus;
  /** Why it is not registered; empty when it is, or starts. */
  readonly reason: string;
  readonly registeredAt: number;
  readonly memoryMiB: number;
}

export interface Agents {
  /** An agent says that it is there, anew: what it had been doing is lost. */
  register(name: string): void;
  unregister(name: string): void;
  /** Notes that the agent lives. False when it is not registered: it should register (again). */
  beat(name: string): boolean;
  /** Its process changed state; one that is not running cannot be registered. */
  processChanged(name: string, state: ProcessState, reason: string): void;
  list(): Agent[];
  /** Whether some configured agent could take it at all. */
  covers(need: Need): boolean;
  /** Whether its file lets the agent have this capability of its own: for its duties, or when it asks. */
  mayHave(name: string, capability: string): boolean;
  /** Waits for a place at a fitting agent: critical goals first, then the ones that waited longest. See {@link Queues}. */
  place(need: Need, signal: AbortSignal): Promise<Place>;
  /**
   * Runs until `signal` is aborted: finds dead agents, and tasks that no agent is there for. While they are frozen, nobody is dead
   * for being silent.
   */
  sweep(signal: AbortSignal, frozen?: () => boolean): Promise<void>;
}

interface Record {
  readonly config: AgentConfig;
  process: ProcessState;
  reason: string;
  registeredAt: number;
  /** Monotonic; undefined = not registered. */
  lastBeat: number | undefined;
  /** The last beat of one that is dead since; undefined = it is not. */
  silentSince: number | undefined;
  /** Monotonic; undefined = its process does not run, or has registered. */
  startedAt: number | undefined;
  running: number;
  completed: number;
}

/** Hearers of what befalls agents, each told with the reason. */
interface AgentsHearers {
  /** Its tasks are lost with it: told once each time. */
  lost(agent: string, reason: string): void;
  /** It hangs: told until its process has changed. */
  hung(agent: string, reason: string): void;
}

/** The registry of the configured agents. */
export function openAgents(configs: readonly AgentConfig[], clock: Clock, { lost, hung }: AgentsHearers): Agents {
  const records = new Map<string, Record>(configs.map((config) => [config.name, newRecord(config)]));
  const { match, place, turnAway } = openPlaces(records, clock);

  const find = (name: string): Record => {
    const record = records.get(name);
    if (record !== undefined) return record;
    throw new AiosError("NOT_FOUND", {
      act: "find agent",
      object: name,
      reason: "it is not configured on this machine",
      next: "see /etc/aios/agents",
    });
  };

  const lose = (record: Record, reason: string) => {
    record.lastBeat = undefined;
    record.reason = reason;
    lost(record.config.name, reason);
    match();
  };

  /** An agent that is not heard of is dead, and hangs when it stays so, or when it does not get as far as to register. */
  const look = (record: Record) => {
    const { config, lastBeat, silentSince, startedAt } = record;
    const since = lastBeat ?? silentSince ?? startedAt;
    if (since === undefined) return;
    const ms = clock.monotonic() - since;
    const silent = `was silent for ${Math.round(ms / 1_000)} s`;
    if (lastBeat !== undefined) {
      if (ms <= deadAfterMs) return;
      record.silentSince = lastBeat;
      lose(record, `agent ${config.name} ${silent}`);
    } else if (silentSince !== undefined) {
      if (ms > hungAfterMs) hung(config.name, `it ${silent}, and is replaced`);
    } else if (ms > startsWithinMs) {
      hung(config.name, `it had not registered ${Math.round(ms / 1_000)} s after its start, and is replaced`);
    }
  };
  return {
    register(name) {
      const record = find(name);
      if (record.lastBeat !== undefined) lost(name, `agent ${name} started anew`);
      record.lastBeat = clock.monotonic();
      record.registeredAt = clock.now();
      record.silentSince = undefined;
      record.startedAt = undefined;
      match();
    },
    unregister(name) {
      lose(find(name), `agent ${name} left`);
    },
    beat(name) {
      const record = find(name);
      if (record.lastBeat === undefined) return false;
      record.lastBeat = clock.monotonic();
      return true;
    },
    processChanged(name, state, reason) {
      const record = find(name);
      record.process = state;
      record.silentSince = undefined;
      record.startedAt = state === "starting" ? clock.monotonic() : undefined;
      if (state !== "starting" && record.lastBeat !== undefined) lose(record, `agent ${name} ended: ${reason}`);
      record.reason = reason;
      match();
    },
    list: () => [...records.values()].map(view),
    covers: (need) => [...records.values()].some(({ config }) => fits(need, config)),
    mayHave: (name, capability) => lists(records.get(name)?.config, capability),
    place,
    async sweep(signal, frozen = () => false) {
      for (let last = clock.monotonic(); !signal.aborted; last = clock.monotonic()) {
        await clock.sleep(sweepIntervalMs, signal).catch(() => {});
        const stalled = clock.monotonic() - last > stallMs;
        for (const record of records.values()) stalled || frozen() ? excuse(record, clock) : look(record);
        turnAway();
      }
    },
  };
}

/** The places at the agents: who waits for one is given it when it is free. */
function openPlaces(records: ReadonlyMap<string, Record>, clock: Clock) {
  const queues = openQueues(clock);
  const candidates = () => [...records.values()].map(candidate);
  /** Gives free places to those that wait. */
  const match = () => {
    queues.serve((need) => {
      const record = records.get(chooseAgent(need, candidates()) ?? "");
      return record === undefined ? undefined : occupy(record);
    });
  };
  const occupy = (record: Record): Place => {
    let held = true;
    record.running += 1;
    return {
      agent: record.config.name,
      release: () => {
        if (!held) return;
        held = false;
        record.running -= 1;
        record.completed += 1;
        match();
      },
    };
  };
  const statuses = () => [...records.values()].map(view).map(({ name, status }) => `${name} ${status}`);
  return {
    match,
    place(need: Need, signal: AbortSignal): Promise<Place> {
      const place = queues.enter(need, signal);
      match();
      return place;
    },
    /** Turns away who waits for agents that are not there. */
    turnAway: () =>
      queues.turnAway(
        (need) => isAttended(need, candidates()),
        () => statuses().join(", "),
      ),
  };
}

/** Nobody could be heard meanwhile: all have their time anew. */
function excuse(record: Record, clock: Clock): void {
  for (const key of ["lastBeat", "silentSince", "startedAt"] as const) {
    if (record[key] !== undefined) record[key] = clock.monotonic();
  }
}

function newRecord(config: AgentConfig): Record {
  return {
    ...{ config, process: "starting", reason: "", registeredAt: 0, lastBeat: undefined },
    ...{ silentSince: undefined, startedAt: undefined, running: 0, completed: 0 },
  };
}

function lists(config: AgentConfig | undefined, capability: string): boolean {
  const { namespaces = [], standing = [], requestable = [] } = config ?? {};
  const isIn = (list: readonly string[]) => list.some((allowed) => isWithin(allowed, capability));
  return isIn(standing) || (isIn(requestable) && namespaces.includes(namespaceIn(capability)));
}

const namespaceIn = (capability: string): string => capability.split(":")[0] ?? "";

function fits(need: Need, config: AgentConfig): boolean {
  return config.namespaces.includes(need.namespace) || config.name === need.agent;
}

function candidate(record: Record): Candidate {
  const { config, running, completed, lastBeat } = record;
  return {
    name: config.name,
    namespaces: config.namespaces,
    running,
    runningMax: config.concurrentTasksMax,
    completed,
    alive: lastBeat !== undefined,
    hopeless: record.process === "crash_loop" || record.silentSince !== undefined,
  };
}

function view(record: Record): Agent {
  const away = record.silentSince === undefined ? record.process : "dead";
  const status = record.lastBeat === undefined ? away : record.running > 0 ? "active" : "idle";
  return {
    name: record.config.name,
    type: record.config.type,
    namespaces: record.config.namespaces,
    status,
    reason: record.lastBeat === undefined ? record.reason : "",
    registeredAt: record.registeredAt,
    memoryMiB: record.config.limits.memoryMiB,
  };
}
