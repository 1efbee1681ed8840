/**
 * An agent is one file (`/etc/aios/agents`: role, brief, namespaces, grants, limits) and one object here: tools, wakes,
 * calls at most. Its periodic work has standing grants that only read, from its file, given by the orchestrator with
 * the first beat (one that comes before the machine is up is answered when it is, within five seconds, so that duties
 * begin at once), renewed every five minutes, and ended when the agent ends, rests, or the machine is stopped. What it
 * notices goes to the orchestrator (`aios.orchestrator.Duties`, on the agent's own socket, which says who reports;
 * aios-memory has no door for agents) and from there to memory and to the triggers. So nothing changes the machine
 * outside a task.
 *
 * Where the public system's duties make no sense on an appliance they are other: network asks its own gateway and no
 * public servers, package reads the lists that are there instead of fetching them, dev and task do nothing unasked, and
 * nobody restarts what a person has stopped.
 */
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";

/**
 * The periodic work of an agent. Its tools are called on its own socket, with the standing grants of its file, which
 * also says what it is for.
 */
export interface Duty {
  readonly name: string;
  /** The tools that its periodic work calls. */
  readonly tools: readonly string[];
  readonly wakes: readonly Wake[];
  readonly limits: { readonly callsPerWakeMax: number };
}

/** Why and when it looks up. */
interface Wake {
  readonly name: string;
  readonly everyMs: number;
  /** The first time: as soon as it is on duty, or at a random moment of the interval, so that not all begin together. */
  readonly first: "at once" | "spread";
  /** Categories of notices by which it is woken before its time. */
  readonly events?: readonly string[];
  run(hands: Hands): Promise<void>;
}

type Severity = "info" | "warning" | "critical";

export interface Notice {
  readonly category: string;
  readonly severity: Severity;
  readonly subject: string;
  readonly detail: string;
}

export interface WatchedService {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly healthCheckPath: string;
  readonly managedBy: string;
}

export type Output = Readonly<Record<string, unknown>>;

/** The means of a duty. */
export interface Hands {
  /** Calls a tool. Throws with what the registry or the tool says. */
  call(tool: string, input: object, reason: string): Promise<Output>;
  /** Tells how something is, each time that it is looked at: a notice goes out only when that has changed. */
  state(notice: Notice): void;
  measure(key: string, value: number): void;
  health(name: string, healthy: boolean, detail: string): void;
  services(): Promise<readonly WatchedService[]>;
  /** Between two wakes of this agent, as long as it lives. */
  readonly kept: Map<string, unknown>;
}

/** The report after a wake. */
export interface Findings {
  readonly notices: readonly Notice[];
  readonly metrics: readonly { readonly key: string; readonly value: number }[];
  readonly services: readonly { readonly name: string; readonly healthy: boolean; readonly detail: string }[];
}

/** The agent's tools and its way to the orchestrator. */
export interface Ways {
  call(tool: string, input: object, reason: string, signal: AbortSignal): Promise<Output>;
  report(findings: Findings): Promise<void>;
  services(): Promise<readonly WatchedService[]>;
  /** Wakes by notices, until `signal` is aborted. */
  listen(categories: readonly string[], wake: () => void, signal: AbortSignal): Promise<void>;
}

export interface Surroundings {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** Whether the agent is on duty now: standing grants are in force. */
  onDuty(): boolean;
}

/** Off duty it looks up so often whether it is again. */
const offDutyLookMs = 1_000;

/** Longest spread of first wakes. */
const spreadMaxMs = 60_000;

/** Between two wakes by notices lies at least this: many at once are one. */
const wakeGapMs = 1_000;

/** Does a duty's periodic work until the signal is aborted. */
export async function keepDuty(duty: Duty, ways: Ways, around: Surroundings): Promise<void> {
  const kept = new Map<string, unknown>();
  const severities = new Map<string, Severity>();
  await Promise.all(duty.wakes.map((wake) => keepWake(duty, wake, ways, around, kept, severities)));
}

async function keepWake(
  duty: Duty,
  wake: Wake,
  ways: Ways,
  { clock, log, random, signal, onDuty }: Surroundings,
  kept: Map<string, unknown>,
  severities: Map<string, Severity>,
): Promise<void> {
  const nap = napOf(clock, signal);
  if (wake.events !== undefined) void ways.listen(wake.events, nap.interrupt, signal);
  if (wake.first === "spread") await nap.sleep(random() * Math.min(wake.everyMs, spreadMaxMs));
  while (!signal.aborted) {
    if (!onDuty()) {
      await clock.sleep(offDutyLookMs, signal).catch(() => {});
      continue;
    }
    const findings = await wakeOnce(duty, wake, ways, kept, severities, signal).catch((error) => {
      log.warn("a duty was not done", { wake: wake.name, reason: messageOf(error) });
      return undefined;
    });
    if (findings !== undefined) {
      await ways.report(findings).catch((error) => log.debug("a report was not taken", { reason: messageOf(error) }));
    }
    const gapMs = Math.min(wakeGapMs, wake.everyMs);
    await clock.sleep(gapMs, signal).catch(() => {});
    await nap.sleep(wake.everyMs - gapMs);
  }
}

/** Sleep that what is noticed ends. What comes while nobody sleeps ends the next one: it may be news since the last look. */
function napOf(clock: Clock, signal: AbortSignal) {
  let stop = new AbortController();
  return {
    interrupt: () => stop.abort(),
    async sleep(ms: number) {
      await clock.sleep(ms, AbortSignal.any([signal, stop.signal])).catch(() => {});
      stop = new AbortController();
    },
  };
}

async function wakeOnce(
  duty: Duty,
  wake: Wake,
  ways: Ways,
  kept: Map<string, unknown>,
  severities: Map<string, Severity>,
  signal: AbortSignal,
): Promise<Findings | undefined> {
  const notices: Notice[] = [];
  const metrics: { key: string; value: number }[] = [];
  const services: { name: string; healthy: boolean; detail: string }[] = [];
  let calls = 0;
  await wake.run({
    kept,
    services: ways.services,
    measure: (key, value) => void metrics.push({ key, value }),
    health: (name, healthy, detail) => void services.push({ name, healthy, detail }),
    state(notice) {
      const key = `${notice.category} ${notice.subject}`;
      const before = severities.get(key) ?? "info";
      severities.set(key, notice.severity);
      // What is still not well is told again: whether it is a reason for another goal is the orchestrator's to say.
      if (notice.severity !== before || notice.severity === "critical") notices.push(notice);
    },
    async call(tool, input, reason) {
      calls += 1;
      if (!duty.tools.includes(tool)) throw new Error(`${tool} is none of the tools of agent ${duty.name}`);
      if (calls > duty.limits.callsPerWakeMax)
        throw new Error(`more than ${duty.limits.callsPerWakeMax} calls in a wake`);
      return await ways.call(tool, input, reason, signal);
    },
  });
  return notices.length + metrics.length + services.length === 0 ? undefined : { notices, metrics, services };
}

/** The severity of a measurement by its two limits. */
export function grade(value: number, limits: { readonly warning: number; readonly critical: number }): Severity {
  if (value >= limits.critical) return "critical";
  return value >= limits.warning ? "warning" : "info";
}

/** A field of an output that must be a number. */
export function numberIn(output: Output, field: string): number {
  const value = output[field];
  if (typeof value === "number") return value;
  throw new Error(`the output has no number ${field}`);
}

/** A field of an output that must be a list of objects. */
export function listIn(output: Output, field: string): readonly Output[] {
  const value = output[field];
  if (Array.isArray(value)) return value as Output[];
  throw new Error(`the output has no list ${field}`);
}
