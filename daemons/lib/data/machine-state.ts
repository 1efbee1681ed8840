import { readFileSync } from "node:fs";
import type { Clock, Moment } from "../clock.ts";
import { AiosError, errnoOf } from "../errors.ts";
import { replaceFile } from "./files.ts";

/** Facts from init about the data volume and the clock, for the daemons. */
export interface MachineState {
  /** Where /var/lib/aios is: on a volume; in memory, since there is none; or in memory though there is one, which cannot be read. */
  readonly data: "volume" | "memory" | "unreadable";
  readonly clock: ClockState;
}

export type ClockState =
  /** The time is that of the network, or a host's. */
  | { readonly sure: true }
  /** It is no earlier than `earliestMs`, milliseconds since the epoch, and `aheadMs` later than the clock at most. */
  | { readonly sure: false; readonly earliestMs: number; readonly aheadMs: number };

const pathIn = (run: string) => `${run}/machine-state.json`;

/** Undefined where init has left none. */
function readMachineState(run: string): MachineState | undefined {
  try {
    return JSON.parse(readFileSync(pathIn(run), "utf8")) as MachineState;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Whether the data volume is there and cannot be read. What is kept lies in memory then, and the machine's keys are out of reach:
 * one that is made now would sign or seal what nobody can check or open afterwards.
 */
export const dataUnreadable = (run: string): boolean => readMachineState(run)?.data === "unreadable";

/** Refuses `act` (on) `object`, which needs a key that outlives this boot. */
export function keysOutOfReach(act: string, object: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act,
    object,
    reason: "the machine's keys are on its data volume, which is there and cannot be read",
    next: 'choose "repair the data volume" in the boot menu, or attach the volume as it was',
  });
}

export function writeMachineState(run: string, state: MachineState): void {
  replaceFile(pathIn(run), JSON.stringify(state), 0o644);
}

/** The time, as far as the machine knows it: what certificates are made by. */
export function momentOf(run: string, clock: Clock): Moment {
  const nowMs = clock.now();
  const known = readMachineState(run)?.clock;
  if (known === undefined || known.sure) return nowMs;
  return { earliestMs: Math.min(nowMs, known.earliestMs), latestMs: nowMs + known.aheadMs };
}
