import { readFileSync } from "node:fs";
import type { Clock } from "./clock.ts";
import { errnoOf } from "./errors.ts";
import { replaceFile } from "./files.ts";
import type { Moment } from "./pki.ts";

/** What init says of the ground that daemons stand on. */
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
export function readMachineState(run: string): MachineState | undefined {
  try {
    return JSON.parse(readFileSync(pathIn(run), "utf8")) as MachineState;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
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
