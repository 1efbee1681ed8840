/**
 * Who restarts a service is said once. PID 1 starts a unit again by its `restart`; one that says `never` and is
 * enabled, or on the watch list, is the agents'. What procedures of the image set up is theirs: init would have it back
 * before anybody had asked why it ended, and at the level manual a person decides. The orchestrator follows init's
 * stream of units and tells each end that nobody asked for (`unit.ended`), which wakes the monitor; the monitor alone
 * judges.
 */
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Client } from "#lib/rpc/service";
import { type InitService, type Unit, UnitState } from "#proto/aios/init";
import type { Notice } from "./notices.ts";

/** Pause until init is asked again after its stream has ended. */
const askAgainMs = 1_000;

/** States of a unit whose process has ended, though it is meant to run. */
const endedStates: readonly UnitState[] = [UnitState.UNIT_STOPPED, UnitState.UNIT_BACKOFF, UnitState.UNIT_CRASH_LOOP];

/**
 * Follows PID 1's units until `signal` is aborted and tells each end of a managed one that nobody asked for, once. It judges
 * nothing: whether the end is a reason to do something is for the monitor agent to say, which is woken by it.
 */
export async function followUnits(
  init: Pick<Client<typeof InitService>, "watchUnits">,
  tell: (notice: Notice) => Promise<void>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  /** The start that the end was told of, by unit: a stream that begins anew tells the present state again. */
  const told = new Map<string, number>();
  while (!signal.aborted) {
    try {
      for await (const unit of init.watchUnits({}, { signal })) {
        if (!hasEnded(unit) || told.get(unit.name) === unit.startedAt) continue;
        told.set(unit.name, unit.startedAt);
        await tell(noticeOf(unit));
      }
    } catch (error) {
      log.debug("init's units are followed again", { reason: messageOf(error) });
    }
    await clock.sleep(askAgainMs, signal).catch(() => {});
  }
}

const hasEnded = ({ managed, wanted, state }: Unit) => managed && wanted && endedStates.includes(state);

const noticeOf = ({ name, reason }: Unit): Notice => ({
  category: "unit.ended",
  severity: "warning",
  subject: name,
  detail: reason,
  source: "init",
});
