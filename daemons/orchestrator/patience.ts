import type { Clock } from "#lib/clock";
import { AiosError, type Code } from "#lib/errors";
import { type Patience, patiently as patientlyBy } from "#lib/patience";

/** Codes of what another try later can change: the daemon is away, slow, or its disk is full. */
const passingCodes: readonly Code[] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"];

const withDaemons: Patience = {
  ...{ firstMs: 300, mostMs: 300 },
  passing: (error) => error instanceof AiosError && passingCodes.includes(error.code),
};

/** Makes a call to another daemon, again and again while that daemon cannot answer it at present. Other errors are thrown at once. */
export function patiently<T>(clock: Clock, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  return patientlyBy(withDaemons, { clock, signal }, call);
}
