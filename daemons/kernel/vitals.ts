import type { Limits } from "./limits.ts";
import type { AgentStateVector, OperatingMode } from "./shapes.ts";
import type { BranchState, Vitals } from "./state.ts";

/** How what happens bears on a session: the protocol's own figures. */
export function afterSuccess(vitals: Vitals, changes: boolean): Vitals {
  return {
    ...vitals,
    progress: Math.min(1, vitals.progress + 0.12),
    uncertainty: vitals.uncertainty * 0.85,
    // Looking at things takes off what changing them put on: the mode `verify` ends when somebody has looked.
    sideEffects: changes ? Math.min(1, vitals.sideEffects + 0.2) : vitals.sideEffects * 0.7,
    errorStreak: 0,
  };
}

export function afterRefusal(vitals: Vitals): Vitals {
  return failed(vitals, 0.15);
}

export function afterFailure(vitals: Vitals): Vitals {
  return failed(vitals, 0.18);
}

function failed(vitals: Vitals, doubt: number): Vitals {
  return { ...vitals, uncertainty: Math.min(1, vitals.uncertainty + doubt), errorStreak: vitals.errorStreak + 1 };
}

/** A person is asked about the open call. */
function isAsking({ run }: BranchState): boolean {
  return run?.call?.tickets.some(({ decision }) => decision === undefined) ?? false;
}

/** The mode that a session is in, and why. The first rule that applies. */
export function modeOf(state: BranchState, limits: Limits): { mode: OperatingMode; reason: string } {
  const { vitals, run } = state;
  if (isAsking(state)) return { mode: "ask_human", reason: "a call waits for a person" };
  if (vitals.errorStreak >= limits.breakerErrors)
    return { mode: "recover", reason: `${vitals.errorStreak} errors in a row` };
  if (run === undefined) return { mode: "sleep", reason: "nothing is asked for" };
  if (pressure(state, limits) > 0.8) return { mode: "explore", reason: "the context is nearly full" };
  if (vitals.uncertainty > 0.65) return { mode: "explore", reason: "too little is known" };
  if (vitals.sideEffects > 0.6) return { mode: "verify", reason: "much was changed and not looked at" };
  return { mode: "execute", reason: "the way is clear" };
}

const pressure = ({ vitals }: BranchState, limits: Limits) => Math.min(1, vitals.contextLength / limits.contextLength);

/** The state as the protocol tells it. */
export function stateVector(state: BranchState, limits: Limits): AgentStateVector {
  const { vitals, budget } = state;
  return {
    progress: vitals.progress,
    uncertainty: vitals.uncertainty,
    risk_level: vitals.risk,
    budget,
    error_streak: vitals.errorStreak,
    context_pressure: pressure(state, limits),
    side_effect_pressure: vitals.sideEffects,
    human_dependency: isAsking(state) ? 1 : 0,
  };
}
