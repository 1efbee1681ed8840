import { AiosError } from "../errors.ts";

/** How long a person may be given at most to decide about a call: what is lent for the call lasts as long. */
export const approvalMostMs = 7 * 86_400_000;

/** Milliseconds of a duration such as "5m". */
export function durationMs(text: string): number {
  const [, count, unit] = /^([0-9]+)(ms|s|m|h|d)$/.exec(text) ?? [];
  const factor = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit ?? ""];
  if (factor === undefined)
    throw new AiosError("INVALID_ARGUMENT", `read duration ${text}: expected a number and ms, s, m, h or d`);
  return Number(count) * factor;
}
