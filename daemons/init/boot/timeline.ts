import type { Clock } from "#lib/clock";
import { consoleLines } from "#manifest";
import type { Faults } from "../base/index.ts";
import type { Screen } from "../early/index.ts";
import type { TimeStatus } from "../time/index.ts";
import { type Phase, type PhaseRecord, reportPhase, runPhases } from "./phases.ts";

/** The boot as it is told over the API. */
export interface Boot {
  readonly id: string;
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly kernelStartAt: number;
  /** Since kernel start. */
  readonly firstJavascriptMs: number;
  readonly phases: readonly PhaseRecord[];
  state(): "booting" | "autonomous" | "degraded";
  /** Since kernel start; 0 = not yet. */
  autonomyMs(): number;
  /** Degraded parts, each with its next step. */
  faults(): readonly string[];
  /** How far the wall clock can be believed. */
  time(): TimeStatus;
  /** Takes what is known of that from now on. */
  keepTime(status: Omit<TimeStatus, "checkedAt">): void;
  /** Runs and reports the phases, then tells whether the machine is autonomous, now and whenever that changes. */
  run(phases: readonly Phase[]): Promise<void>;
}

interface BootFacts {
  readonly id: string;
  readonly version: string;
  readonly firstJavascriptMs: number;
  /** The phases that are run, in order; autonomy follows. */
  readonly names: readonly string[];
}

/** `clock.monotonic` counts from kernel start. `good` is called when autonomy is reached. */
export function openBoot(facts: BootFacts, faults: Faults, screen: Screen, clock: Clock, good: () => void): Boot {
  const autonomy = newRecord("autonomy");
  const phases: PhaseRecord[] = [...facts.names.map(newRecord), autonomy];
  let autonomyMs = 0;
  let settled = false;
  let time: TimeStatus = { sure: false, detail: "not looked at yet", checkedAt: 0 };
  const degraded = () => [
    ...phases.flatMap(({ name, state, detail }) => (state === "degraded" ? [`${name}: ${detail}`] : [])),
    ...faults.list(),
  ];

  const tell = (index: number) => {
    const record = phases[index];
    if (record !== undefined) reportPhase(record, index + 1, phases.length, screen);
  };
  const report = (index: number) => {
    tell(index);
    if (autonomyMs > 0 || !phases.every((phase) => phase === autonomy || phase.state === "ready")) return;
    autonomyMs = Math.round(clock.monotonic());
    Object.assign(autonomy, { state: "ready", startedMs: autonomyMs });
    tell(phases.length - 1);
    screen.say(`${consoleLines.ready}, ${(autonomyMs / 1000).toFixed(1)} s after kernel start`);
    good();
  };

  faults.onChange((_, text) => {
    if (text === undefined && settled && degraded().length === 0) screen.say("aiOS is no longer degraded");
    if (text !== undefined) screen.say(settled ? `${consoleLines.degraded}: ${text}` : `aios-init: ${text}`);
  });

  return {
    ...facts,
    // Reckoned back when asked: the wall clock may have been set since.
    get kernelStartAt() {
      return Math.round(clock.now() - clock.monotonic());
    },
    phases,
    state: () => (!settled ? "booting" : degraded().length > 0 ? "degraded" : "autonomous"),
    autonomyMs: () => autonomyMs,
    faults: degraded,
    time: () => time,
    keepTime(status) {
      time = { ...status, checkedAt: clock.now() };
    },
    async run(todo) {
      await runPhases(todo, phases, clock, report);
      settled = true;
      for (const fault of degraded()) screen.say(`${consoleLines.degraded}: ${fault}`);
    },
  };
}

function newRecord(name: string): PhaseRecord {
  return { name, state: "pending", startedMs: 0, durationMs: 0, detail: "" };
}

/** A UUIDv7 made of the time and of a random UUID of the kernel's: no cryptography is loaded before the first unit runs. */
export function bootId(nowMs: number, kernelUuid: string): string {
  const time = nowMs.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${kernelUuid.slice(15)}`;
}
