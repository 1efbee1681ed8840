/**
 * While an agent's duties rest, since it used a processor for a minute (children count) or went on calling after
 * refusals, it has a tenth of a processor.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";

/** Watches what each agent takes, and reports one that takes too much. */
export interface UsageLimits {
  /** Counts a call by which an agent makes work for others. Throws RESOURCE_EXHAUSTED when it made too many. */
  count(agent: string): void;
  /** Notes what the agent's process has used of a processor since its start, milliseconds. */
  used(agent: string, cpuMs: number): void;
}

/** Calls of an agent that make work for others (goals, sub tasks, questions, reports) in a minute. */
export const callsPerMinuteMax = 60;

/** Refusals in a minute after which its duties rest. */
export const refusalsMax = 20;

/** Share of one processor, over a minute, after which its duties rest. */
const cpuShareMax = 0.8;

const minuteMs = 60_000;

interface UsageLimitsParts {
  readonly clock: Clock;
  /** An agent takes too much: what it does, in words. Told at most once a minute. */
  exceeded(agent: string, reason: string): void;
}

interface Account {
  calls: number[];
  refusals: number[];
  usage: { readonly at: number; readonly cpuMs: number } | undefined;
  toldAt: number;
}

export function openUsageLimits({ clock, exceeded }: UsageLimitsParts): UsageLimits {
  const accounts = new Map<string, Account>();
  const accountOf = (agent: string): Account => {
    const known = accounts.get(agent) ?? {
      calls: [],
      refusals: [],
      usage: undefined,
      toldAt: Number.NEGATIVE_INFINITY,
    };
    accounts.set(agent, known);
    return known;
  };
  const recent = (times: readonly number[]) => times.filter((at) => at > clock.monotonic() - minuteMs);
  const tell = (agent: string, account: Account, reason: string) => {
    if (clock.monotonic() - account.toldAt < minuteMs) return;
    account.toldAt = clock.monotonic();
    exceeded(agent, reason);
  };
  return {
    count(agent) {
      const account = accountOf(agent);
      account.calls = recent(account.calls);
      if (account.calls.length < callsPerMinuteMax) return void account.calls.push(clock.monotonic());
      account.refusals = [...recent(account.refusals), clock.monotonic()].slice(-refusalsMax);
      if (account.refusals.length >= refusalsMax) {
        tell(agent, account, `it went on after ${refusalsMax} refusals in a minute`);
      }
      throw new AiosError("RESOURCE_EXHAUSTED", {
        act: "take a call of agent",
        object: agent,
        reason: `it made ${callsPerMinuteMax} in the last minute`,
        next: "wait, and ask for less",
      });
    },
    used(agent, cpuMs) {
      const account = accountOf(agent);
      const now = clock.monotonic();
      // A smaller count is that of a new process.
      if (account.usage === undefined || cpuMs < account.usage.cpuMs) account.usage = { at: now, cpuMs };
      const spanMs = now - account.usage.at;
      if (spanMs < minuteMs) return;
      const share = (cpuMs - account.usage.cpuMs) / spanMs;
      account.usage = { at: now, cpuMs };
      if (share > cpuShareMax) tell(agent, account, `it used ${Math.round(share * 100)} % of a processor for a minute`);
    },
  };
}
