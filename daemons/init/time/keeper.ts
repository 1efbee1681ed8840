/**
 * Time is asked for, and doubted. Time servers (those of DHCP and of `[network] ntp_servers`) are asked once the boot
 * has run, by a client of our own, since the packages of that kind take any answer from anywhere; it wants the origin
 * it sent, a server that is set, and more than half of the servers to agree, leaves those alone that send a kiss of
 * death, slews below 128 ms and sets above.
 */
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Faults } from "../base/index.ts";
import type { Agreement } from "./agreement.ts";
import type { Round } from "./round.ts";
import type { TimeServer } from "./servers.ts";
import { clockFault } from "./start.ts";

export interface KeeperNeeds {
  readonly clock: Clock;
  /** The servers that are known now: they come with leases. */
  servers(): readonly TimeServer[];
  ask(servers: readonly TimeServer[]): Promise<Round>;
  /** Sets the clock, milliseconds since the epoch; or makes it run a little faster or slower until it has caught up. */
  setTime(nowMs: number): void;
  slewTime(offsetMs: number): void;
  readonly faults: Faults;
  say(line: string): void;
  /** The time is sure from now on, or it is not, and why. */
  hear(sure: boolean, text: string): void;
}

/** A clock that is further off is set; nearer, it is slewed, so that no time comes twice. */
const stepMs = 128;
/** A clock that was sure is not set further than this by one answer: the next round must say the same. */
const jumpMs = 1_000_000;
const sameMs = 10_000;

const pauses = {
  /** Until the time is sure, each twice as long as the one before. */
  unsure: { firstMs: 5_000, lastMs: 300_000 },
  /** Then the same, and never more often than a public server wants. */
  sure: { firstMs: 64_000, lastMs: 1_024_000 },
} as const;

const timeServersFault = "time-servers";

/** Keeps the clock by time servers until aborted. `wake` has it ask at once: there may be other servers. */
export function keepTime(needs: KeeperNeeds, signal: AbortSignal): { wake(): void } {
  let woken = new AbortController();
  const pause = async (ms: number) => {
    await needs.clock.sleep(ms, AbortSignal.any([signal, woken.signal])).catch(() => {});
    woken = new AbortController();
  };
  void keep(needs, pause, signal);
  return { wake: () => woken.abort() };
}

async function keep(needs: KeeperNeeds, pause: (ms: number) => Promise<void>, signal: AbortSignal): Promise<void> {
  const mayJump = jumpGuard();
  let sure = false;
  let pauseMs = 0;
  while (!signal.aborted) {
    const round = await needs.ask(needs.servers()).catch(failed);
    const { agreement } = round;
    const doubted: boolean = agreement !== undefined && sure && !mayJump(agreement.offsetMs);
    const problem: string | undefined =
      agreement === undefined || doubted ? round.problems.join("; ") : setBy(needs, agreement);
    const became: boolean = !sure && problem === undefined;
    sure ||= became;
    tell(needs, round, sure, problem);
    const { firstMs, lastMs } = sure ? pauses.sure : pauses.unsure;
    pauseMs = became || doubted ? firstMs : Math.max(firstMs, Math.min(lastMs, pauseMs * 2));
    await pause(pauseMs);
  }
}

const failed = (error: unknown): Round => ({ agreement: undefined, suspect: false, problems: [messageOf(error)] });

function tell({ faults, hear }: KeeperNeeds, round: Round, sure: boolean, problem: string | undefined): void {
  if (problem === undefined) {
    hear(true, `as ${round.agreement?.servers.join(", ")} told`);
    faults.clear(clockFault);
  } else if (!sure) hear(false, problem || "no time server is known");
  if (round.suspect) faults.raise(timeServersFault, `time servers: ${round.problems.join("; ")}; ${lookAtThem}`);
  else faults.clear(timeServersFault);
}

const lookAtThem = "correct them, or name others in [network] ntp_servers";

/** Lets an offset pass that is small, or that was told twice: a clock that was sure is not thrown by one answer. */
function jumpGuard(): (offsetMs: number) => boolean {
  let told: number | undefined;
  return (offsetMs) => {
    const passes = Math.abs(offsetMs) <= jumpMs || (told !== undefined && Math.abs(told - offsetMs) <= sameMs);
    told = passes ? undefined : offsetMs;
    return passes;
  };
}

/** Sets or slews the clock. Gives back what is in the way, if something is. */
function setBy({ clock, setTime, slewTime, say }: KeeperNeeds, { offsetMs, servers }: Agreement): string | undefined {
  const nowMs = clock.now() + offsetMs;
  try {
    if (Math.abs(offsetMs) < stepMs) slewTime(offsetMs);
    else {
      setTime(nowMs);
      say(
        `aios-init: clock set to ${new Date(nowMs).toISOString()} (${seconds(offsetMs)}), as ${servers.join(", ")} told`,
      );
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

const seconds = (ms: number) => `${ms > 0 ? "+" : ""}${(ms / 1000).toFixed(3)} s`;
