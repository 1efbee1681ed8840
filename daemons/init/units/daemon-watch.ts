import type { Clock } from "#lib/clock";
import type { Faults } from "../base/index.ts";
import type { Supervisor } from "./supervisor.ts";
import type { UnitStatus } from "./units.ts";

/**
 * A daemon that is not ready for this long is a fault of the machine. A start takes seconds, under emulation most of
 * this time.
 */
export const graceMs = 10_000;

/**
 * Keeps as a fault of the machine each daemon that was ready and is not any more, at once when it is in a crash loop: without
 * it the machine is not what it says. One that was never ready is the boot's to tell of.
 */
export function watchDaemons(supervisor: Supervisor, names: readonly string[], faults: Faults, clock: Clock): void {
  const daemons = new Map(names.map((name) => [name, { wasReady: false, why: "", grace: new AbortController() }]));
  supervisor.onChange((name, now) => {
    const daemon = daemons.get(name);
    if (daemon === undefined) return;
    daemon.why = whyOf(now) ?? daemon.why;
    const fault = `daemon ${name}`;
    const raise = () => {
      if (!supervisor.isEnding()) faults.raise(fault, `${name} is not ready: ${daemon.why}; ${nextStep(name, now)}`);
    };
    if (now.state === "ready") {
      daemon.wasReady = true;
      daemon.grace.abort();
      faults.clear(fault);
    } else if (now.state === "crash-loop" && daemon.wasReady) {
      raise();
    } else if (daemon.wasReady && daemon.grace.signal.aborted) {
      daemon.grace = new AbortController();
      clock.sleep(graceMs, daemon.grace.signal).then(raise, () => {});
    }
  });
}

/** Why it is not ready; undefined where it is only on its way, and what was so before says more. */
function whyOf({ state, answers, reason }: UnitStatus): string | undefined {
  const onItsWay = state === "waiting" || state === "stopping" || (state === "starting" && !answers);
  return onItsWay ? undefined : reason;
}

function nextStep(name: string, { wanted }: UnitStatus): string {
  return wanted ? `see "aiosctl logs ${name}"` : `start it with "aiosctl units start ${name}"`;
}
