import type { Probe } from "./probe.ts";

/** A goal with what must come of it. */
export interface SampleGoal {
  readonly name: string;
  readonly description: string;
  readonly expect: "done" | "refused";
  /** Agents that must have worked on it. */
  readonly agents?: readonly string[];
  /** What must be said of a refusal. */
  readonly reason?: RegExp;
  /** Tools that may have run before it was refused: they only read. */
  readonly reads?: readonly string[];
  /** What must be there before. */
  prepare?(machine: Probe): Promise<void>;
  /** Throws, or tells what is not as it should be; "" when all is. */
  check(machine: Probe, ended: Ended): Promise<string>;
}

/** A goal that is over. */
export interface Ended {
  readonly id: string;
  /** What the person is told came of it. */
  readonly result: string;
  /** What "aiosctl goal explain" tells. */
  readonly explanation: string;
  /** Ids of its tasks. */
  readonly tasks: ReadonlySet<string>;
  /** Agents that completed some of them. */
  readonly agents: readonly string[];
  /** Requests that a model outside the machine got meanwhile. */
  readonly asked: number;
  /** Tokens that the machine has written down for it. */
  readonly tokens: number;
}

/** Tells what a text lacks; "" when it says all of `wanted`. */
export function lacks(text: string, ...wanted: readonly unknown[]): string {
  const missing = wanted.map(String).filter((one) => !text.includes(one));
  return missing.length === 0 ? "" : `${JSON.stringify(text.slice(0, 400))} does not say ${missing.join(", ")}`;
}
