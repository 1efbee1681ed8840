import { createContext, Script } from "node:vm";

const script = new Script("act()");

/**
 * Runs `act` for at most `timeoutMs`: V8's watchdog ends what loops within it, a regular expression that takes for ever too.
 * It runs here all the same: only the watchdog is lent from vm. Throws an Error whose message says that it timed out.
 */
export function underWatchdog<T>(act: () => T, timeoutMs: number): T {
  return script.runInContext(createContext({ act }), { timeout: timeoutMs }) as T;
}
