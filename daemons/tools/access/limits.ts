/**
 * Agents' calls are counted, core daemons' and operators' are not. The limits keep agents from wearing the machine out,
 * and must not keep anyone from stopping them.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Identity } from "#lib/rpc/service";
import type { Tool } from "../tool.ts";
import type { Policy, Rates } from "./policy.ts";

const windowMs = 60_000;

/** Places where calls are counted, at most; those that have been quiet longest are forgotten first. */
const countersMax = 10_000;

/** Namespaces whose tools leave the machine. */
const network: readonly string[] = ["net", "web"];

/** The kinds that a call counts as, beside a call. */
export function kindsOf(tool: Tool): readonly (keyof Rates)[] {
  const changes = tool.effect === "change";
  const destructive = changes && (tool.irreversible !== undefined || tool.risk === "critical");
  const leaves = network.includes(tool.namespace) || Object.values(tool.resources).some((kind) => kind === "url");
  return [
    "calls",
    ...(changes ? ["writes" as const] : []),
    ...(destructive ? ["destructive" as const] : []),
    ...(leaves ? ["network" as const] : []),
  ];
}

interface Rule {
  readonly counter: string;
  /** Calls in a window at most. */
  readonly most: number;
  readonly gapMs: number;
  readonly what: string;
}

/**
 * Counts the calls of agents over the last sixty seconds: of all together, of each, and of each for one tool.
 * Core daemons and operators are not counted.
 */
export class Limits {
  readonly #clock: Clock;
  /** When the calls in the window were made, on the monotonic clock, by counter; the longest quiet first. */
  readonly #made = new Map<string, number[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts a call, or throws RESOURCE_EXHAUSTED with the time after which there is room; then nothing is counted. */
  take(tool: Tool, caller: Identity, policy: Policy): void {
    if (caller.kind !== "agent") return;
    this.#take(tool.name, caller, rulesFor(tool, caller.name, policy));
  }

  /** Counts a call that the gate refused, apart from those it lets through: they have a limit of the same size. */
  takeRefusal(tool: string, caller: Identity, { limits }: Policy): void {
    if (caller.kind !== "agent") return;
    const rules = [
      ...rule("all refused", limits.global.calls, "refused calls of all agents"),
      ...rule(`agent ${caller.name} refused`, limits.agent.calls, `refused calls of ${caller.name}`),
    ];
    this.#take(tool, caller, rules);
  }

  #take(tool: string, caller: Identity, rules: readonly Rule[]): void {
    const now = this.#clock.monotonic();
    for (const rule of rules) {
      const waitMs = this.#waitMs(rule, now);
      if (waitMs > 0) throw exhausted(tool, caller, rule, waitMs);
    }
    for (const { counter } of rules) this.#count(counter, now);
  }

  #waitMs({ counter, most, gapMs }: Rule, now: number): number {
    const made = this.#made.get(counter) ?? [];
    while (made.length > 0 && (made[0] ?? 0) <= now - windowMs) made.shift();
    const gap = made.length > 0 ? (made.at(-1) ?? 0) + gapMs - now : 0;
    if (most === 0) return windowMs;
    const full = made.length >= most ? (made[made.length - most] ?? 0) + windowMs - now : 0;
    return Math.max(gap, full);
  }

  #count(counter: string, now: number): void {
    const made = this.#made.get(counter) ?? [];
    made.push(now);
    this.#made.delete(counter);
    this.#made.set(counter, made);
    if (this.#made.size <= countersMax) return;
    const [quietest = ""] = this.#made.keys();
    this.#made.delete(quietest);
  }
}

const rule = (counter: string, most: number | undefined, what: string, gapMs = 0): Rule[] =>
  most === undefined && gapMs === 0 ? [] : [{ counter, most: most ?? Number.POSITIVE_INFINITY, gapMs, what }];

function rulesFor(tool: Tool, agent: string, { limits }: Policy): Rule[] {
  const own = limits.tools[tool.name];
  return [
    ...kindsOf(tool).flatMap((kind) => [
      ...rule(`all ${kind}`, limits.global[kind], `${kind} of all agents`),
      ...rule(`agent ${agent} ${kind}`, limits.agent[kind], `${kind} of ${agent}`),
    ]),
    ...(own === undefined
      ? []
      : rule(`tool ${agent} ${tool.name}`, own.calls, `calls of ${tool.name} by ${agent}`, own.cooldownMs)),
  ];
}

function exhausted(tool: string, { name }: Identity, { most, gapMs, what }: Rule, waitMs: number): AiosError {
  const limit = Number.isFinite(most) ? `${most} ${what} in ${windowMs / 1000} s` : `${what} every ${gapMs} ms`;
  return new AiosError(
    "RESOURCE_EXHAUSTED",
    {
      act: "execute",
      object: tool,
      reason: `the policy allows ${name} no more than ${limit}`,
      next: `try again in ${Math.ceil(waitMs / 1000)} s`,
    },
    { retryAfterMs: waitMs },
  );
}
