import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Screen } from "../early/index.ts";

/** One step of the boot that is waited for. */
export interface Phase {
  readonly name: string;
  /**
   * Resolves when the phase has reached its aim, however late. Calls `giveUp`, with what is wrong and what to do, when the
   * boot should go on without; what it waits for may still come. A rejection is a give-up for good.
   */
  run(giveUp: (detail: string) => void): Promise<void>;
}

type PhaseState = "pending" | "running" | "ready" | "degraded";

export interface PhaseRecord {
  readonly name: string;
  state: PhaseState;
  /** Since kernel start. */
  startedMs: number;
  durationMs: number;
  /** When degraded: what is wrong and what to do. */
  detail: string;
}

/**
 * Runs the phases: all begin at once, and are waited for and reported in their order. Resolves when the last has reached
 * its aim or was given up. `records` is what the boot's timeline shows meanwhile.
 */
export async function runPhases(
  phases: readonly Phase[],
  records: readonly PhaseRecord[],
  clock: Clock,
  report: (index: number) => void,
): Promise<void> {
  const outcomes = phases.map((phase) => begin(phase));
  for (const [index, outcome] of outcomes.entries()) {
    const record = records[index];
    if (record === undefined) continue;
    record.state = "running";
    record.startedMs = Math.round(clock.monotonic());
    const detail = await Promise.race([outcome.aim.then(() => undefined), outcome.givenUp]);
    const finish = (state: PhaseState, text: string) => {
      record.state = state;
      record.durationMs = Math.round(clock.monotonic()) - record.startedMs;
      record.detail = text;
      report(index);
    };
    finish(detail === undefined ? "ready" : "degraded", detail ?? "");
    if (detail !== undefined) outcome.aim.then(() => finish("ready", ""));
  }
}

interface PhaseOutcome {
  readonly aim: Promise<void>;
  readonly givenUp: Promise<string>;
}

function begin(phase: Phase): PhaseOutcome {
  let giveUp = (_detail: string) => {};
  const givenUp = new Promise<string>((resolve) => {
    giveUp = resolve;
  });
  const aim = new Promise<void>((resolve) => {
    phase.run(giveUp).then(resolve, (error: unknown) => giveUp(messageOf(error)));
  });
  return { aim, givenUp };
}

/** "phase 2/6 runtime: ready, 412 ms" */
export function reportPhase(record: PhaseRecord, number: number, count: number, screen: Screen): void {
  const what = `phase ${number}/${count} ${record.name}`;
  const detail = record.state === "degraded" ? `: ${record.detail}` : "";
  screen.say(`${what}: ${record.state}, ${record.durationMs} ms${detail}`);
}
