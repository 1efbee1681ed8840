import type { Screen } from "../early/index.ts";
import type { Logs } from "../logs/index.ts";
import { backoff, type Supervisor, type UnitStatus } from "../units/index.ts";

/** The unit that may speak on the serial console: it shows the code with which a first operator enrols. */
const speaker = "console";

/** Tells on the screen what becomes of the units, and what the management console asks to be shown. */
export function reportUnits(supervisor: Supervisor, logs: Logs, screen: Screen): void {
  supervisor.onChange((name, unit, before) => {
    const line = unit.state === before.state ? undefined : lineFor(name, unit, before);
    if (line !== undefined) screen.say(line);
  });
  logs.onLine(({ unit, text }) => {
    const message = unit === speaker ? shownMessage(text) : undefined;
    if (message !== undefined) screen.say(message);
  });
}

/** Each failure is said until the unit is in a crash loop, and then that it is: a loop must not fill the console. */
function lineFor(name: string, unit: UnitStatus, before: UnitStatus): string | undefined {
  if (unit.state === "backoff") return `aios-init: ${name}: ${unit.reason}; starts again`;
  if (unit.state === "crash-loop" && unit.failures === backoff.crashLoopAfter) {
    return `aios-init: ${name}: ${unit.reason}; in a crash loop, see "aiosctl logs ${name}"`;
  }
  if (unit.state === "ready" && unit.restarts > 0 && before.readyMs === 0) return `aios-init: ${name}: ready again`;
  return undefined;
}

/** The message of a log line that asks to be shown: `{"msg":"…","console":true}`. */
export function shownMessage(text: string): string | undefined {
  if (!text.startsWith("{") || !text.includes('"console":true')) return undefined;
  try {
    const { msg, console } = JSON.parse(text) as { msg?: unknown; console?: unknown };
    return console === true && typeof msg === "string" ? msg : undefined;
  } catch {
    return undefined;
  }
}
