import type { Clock } from "#lib/clock";
import type { Client, ServiceDefinition } from "#lib/rpc/service";
import type { Out } from "./out.ts";
import type { Screen } from "./screen.ts";

/** Exit codes. */
export const exit = { ok: 0, failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;
export type Exit = (typeof exit)[keyof typeof exit];

/** An option of a command. */
export interface Option {
  readonly type: "string" | "boolean";
  readonly short?: string;
  readonly multiple?: boolean;
  /** The name of its value in the help: "N". */
  readonly value?: string;
  readonly about: string;
}

/** The machine that commands speak to. */
export interface Target {
  /** Its name or address, for people. */
  readonly name: string;
  /** A client of one of its services; `daemon` is who serves it. */
  client<S extends ServiceDefinition>(definition: S, daemon: string): Client<S>;
}

/** A command's arguments, options and means. */
export interface Context {
  readonly args: readonly string[];
  readonly values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
  readonly out: Out;
  /** The terminal behind standard output; undefined when it is a pipe or a file. */
  readonly screen?: Screen | undefined;
  readonly clock: Clock;
  /** Aborted when the person presses Ctrl-C. */
  readonly signal: AbortSignal;
  /** The operator's folder. */
  readonly folder: string;
  /** The machine that was named; undefined for the default one. */
  readonly machine?: string | undefined;
  /** What the person types for `aiosctl`. */
  readonly called: string;
  /** All of standard input, as text. */
  input(): Promise<string>;
  /** Asks the person at the terminal for a line; undefined when there is no more. Absent where nobody can be asked. */
  readonly ask?: ((question: string) => Promise<string | undefined>) | undefined;
  /** The machine asked for, resolved when first used. */
  target(): Target;
}

export interface Command {
  /** "goal submit". */
  readonly name: string;
  readonly summary: string;
  /** The part after the name: "DESCRIPTION [--follow]". */
  readonly usage: string;
  /** How many arguments it takes. */
  readonly args: readonly [least: number, most: number];
  readonly options?: Readonly<Record<string, Option>>;
  readonly examples: readonly string[];
  run(context: Context): Promise<Exit>;
}

/** A mistake in how the command was called. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The value of a string option. */
export function text(context: Context, option: string): string | undefined {
  const value = context.values[option];
  return typeof value === "string" ? value : undefined;
}

/** The value of an option that is a whole number from `least` to `most`. Throws UsageError. */
export function wholeNumber(context: Context, option: string, least: number, most: number): number | undefined {
  const given = text(context, option);
  if (given === undefined) return undefined;
  const value = Number(given);
  if (given.trim() !== "" && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new UsageError(`--${option} ${given}: expected a whole number from ${least} to ${most}`);
}
