import { AsyncLocalStorage } from "node:async_hooks";
import { messageOf } from "./errors.ts";
import { cut } from "./text.ts";

export type Level = "debug" | "info" | "warn" | "error";
export type Fields = Readonly<Record<string, unknown>>;

/** One daemon's log. A line is one JSON object: t (ms since the epoch), level, unit, msg, cid (correlation id), fields. */
export interface Log {
  debug(msg: string, fields?: Fields): void;
  info(msg: string, fields?: Fields): void;
  warn(msg: string, fields?: Fields): void;
  error(msg: string, fields?: Fields): void;
}

const order: readonly Level[] = ["debug", "info", "warn", "error"];

/** The longest line; longer ones are cut, so that one bad value cannot fill the log. */
const lineLengthMax = 8192;

const correlation = new AsyncLocalStorage<string>();

/** Runs `act` so that every log line and every outgoing call made by it carries `id`. */
export function withCorrelation<T>(id: string, act: () => T): T {
  return correlation.run(id, act);
}

/** The correlation id of the act in progress. */
export function correlationId(): string | undefined {
  return correlation.getStore();
}

/** A log that writes lines of at least `level` to `write` (standard error unless told otherwise). */
export function openLog(
  unit: string,
  level: Level = "info",
  write: (line: string) => void = (line) => process.stderr.write(line),
  now: () => number = Date.now,
): Log {
  const least = order.indexOf(level);
  const at = (at: Level) => (msg: string, fields?: Fields) => {
    if (order.indexOf(at) < least) return;
    const cid = correlationId();
    const line = JSON.stringify({ t: now(), level: at, unit, msg, ...(cid && { cid }), ...plainFields(fields) });
    write(`${cut(line, lineLengthMax)}\n`);
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function plainFields(fields: Fields | undefined): Fields | undefined {
  if (fields === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      value instanceof Error ? (value.stack ?? messageOf(value)) : value,
    ]),
  );
}

/** A log that drops everything, for tests. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
