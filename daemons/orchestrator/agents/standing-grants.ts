import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { AgentConfig } from "./agent-config.ts";

/** The agents on duty: each does its periodic work, with the standing grants of its file. */
export interface StandingGrants {
  /**
   * Whether the agent is to do its periodic work now; its beat tells it. Grants are in force when this is so. Before the machine
   * is up this waits for it, at most {@link heldMs} or until `signal` is aborted.
   */
  onDuty(agent: string, signal: AbortSignal): Promise<boolean>;
  /** The agent is gone, or began anew: its grants end; they are given again when it beats. */
  lost(agent: string): void;
  /** Its duties rest for a while, with little of the processors. Gives back why, with what it has. */
  rest(agent: string, reason: string, ms: number): string;
  /** Why the agent's duties rest; empty when they do not. */
  restOf(agent: string): string;
  /** Agents whose duties rest, each with the reason. */
  resting(): string[];
  /** Duties begin: the machine is up. */
  begin(): void;
  /** Nobody waits any more for the machine to be up. */
  end(): void;
  /** Ends all grants, at once: the machine was stopped, or the orchestrator ends. */
  halt(): Promise<void>;
  /** Duties go on after a halt. */
  goOn(): void;
}

/** Longest time until a beat is answered that comes before the machine is up. */
export const heldMs = 5_000;

/** Duration of standing grants, renewed at half of it: those of an orchestrator that died end by themselves. */
export const standingMs = 600_000;

/** Processors of an agent while its duties rest: enough to say that it lives, and for a task now and then. */
export const restCores = 0.1;

interface StandingGrantsParts {
  readonly agents: readonly AgentConfig[];
  readonly clock: Clock;
  readonly log: Log;
  grant(agent: string, capabilities: readonly string[], durationMs: number): Promise<void>;
  revoke(agent: string): Promise<void>;
  /**
   * Gives the agent this many processors' worth of time, or what its file says. False where the kernel does not keep
   * that.
   */
  setCpuCores(agent: string, cores: number | undefined): boolean;
}

interface Post {
  /** Monotonic; until then grants are in force. */
  grantedUntil: number;
  asking: Promise<void> | undefined;
  restUntil: number;
  restReason: string;
}

export function openStandingGrants({
  agents,
  clock,
  log,
  grant,
  revoke,
  setCpuCores,
}: StandingGrantsParts): StandingGrants {
  const posts = new Map<string, Post>(
    agents.map(({ name }) => [name, { grantedUntil: 0, asking: undefined, restUntil: 0, restReason: "" }]),
  );
  const waiting = new AbortController();
  let open = false;
  let halted = false;

  const renew = (config: AgentConfig, post: Post) => {
    const until = clock.monotonic() + standingMs;
    const ask = config.standing.length === 0 ? Promise.resolve() : grant(config.name, config.standing, standingMs);
    post.asking = ask
      .then(() => {
        post.grantedUntil = until;
        // Stopped or resting meanwhile: what has just been granted ends too.
        return halted || post.restUntil > clock.monotonic() ? end(config.name) : undefined;
      })
      .catch((error) => log.warn("no standing grants", { agent: config.name, reason: messageOf(error) }))
      .finally(() => {
        post.asking = undefined;
      });
  };
  const end = async (agent: string) => {
    const post = posts.get(agent);
    if (post === undefined || post.grantedUntil <= clock.monotonic()) return;
    await revokeNow(agent, post);
  };
  const revokeNow = async (agent: string, post: Post) => {
    post.grantedUntil = 0;
    await revoke(agent).catch((error) =>
      log.warn("standing grants end by their time", { agent, reason: messageOf(error) }),
    );
  };

  const rests = openRests(posts, end, { clock, log, setCpuCores });

  return {
    async onDuty(agent, signal) {
      const post = posts.get(agent);
      const config = agents.find(({ name }) => name === agent);
      if (!open) await untilUp(waiting.signal, signal, clock);
      if (signal.aborted || !open || halted || post === undefined || config === undefined) return false;
      const now = clock.monotonic();
      if (post.restUntil > now) return false;
      if (post.asking === undefined && post.grantedUntil - now < standingMs / 2) renew(config, post);
      // The first beat waits for the grants: the next one comes seconds later.
      if (post.grantedUntil <= now) await post.asking;
      return post.grantedUntil > now;
    },
    lost: (agent) => void end(agent),
    ...rests,
    begin() {
      open = true;
      waiting.abort();
    },
    end: () => waiting.abort(),
    async halt() {
      halted = true;
      // Also what an orchestrator before this one had granted and could not take back.
      const holders = agents.filter(({ standing }) => standing.length > 0);
      await Promise.all(
        holders.map(async ({ name }) => {
          const post = posts.get(name);
          if (post !== undefined) await revokeNow(name, post);
        }),
      );
    },
    goOn() {
      halted = false;
    },
  };
}

/** The rests of agents that took too much: for a while they have little of the processors, and no duties. */
function openRests(
  posts: ReadonlyMap<string, Post>,
  endGrants: (agent: string) => Promise<void>,
  { clock, log, setCpuCores }: Pick<StandingGrantsParts, "clock" | "log" | "setCpuCores">,
): Pick<StandingGrants, "rest" | "restOf" | "resting"> {
  const restOf = (agent: string) => {
    const post = posts.get(agent);
    return post !== undefined && post.restUntil > clock.monotonic() ? post.restReason : "";
  };
  /** Gives back what the agent's file says, unless its rest was made longer meanwhile. */
  const endRest = (agent: string, until: number) => {
    if (posts.get(agent)?.restUntil !== until) return;
    if (setCpuCores(agent, undefined)) log.info("an agent is throttled no more", { agent });
  };
  return {
    rest(agent, reason, ms) {
      const throttled = setCpuCores(agent, restCores);
      const restReason = throttled ? `${reason}; it has ${restCores} of a processor meanwhile` : reason;
      const restUntil = clock.monotonic() + ms;
      const post = posts.get(agent);
      if (post !== undefined) Object.assign(post, { restUntil, restReason });
      log.warn("the duties of an agent rest", { agent, reason: restReason, restMs: ms });
      void endGrants(agent);
      void clock.sleep(ms).then(() => endRest(agent, restUntil));
      return restReason;
    },
    restOf,
    resting: () =>
      [...posts.keys()].filter((agent) => restOf(agent) !== "").map((agent) => `${agent}: ${restOf(agent)}`),
  };
}

/** Waits until `up` is aborted, at most {@link heldMs} or until `signal` is aborted. */
async function untilUp(up: AbortSignal, signal: AbortSignal, clock: Clock): Promise<void> {
  const wake = () => waking.abort();
  const waking = new AbortController();
  for (const each of [signal, up]) each.addEventListener("abort", wake, { once: true });
  if (!signal.aborted && !up.aborted) await clock.sleep(heldMs, waking.signal).catch(() => {});
  for (const each of [signal, up]) each.removeEventListener("abort", wake);
}
