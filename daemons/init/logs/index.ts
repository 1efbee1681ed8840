/**
 * The logs of all units: pipes read as lines, a ring in memory for each unit, rotated files.
 * Whoever starts a unit, shows its lines or ends the machine comes in.
 */
export { type Logs, logLimits, openLogs, type UnitLog } from "./logs.ts";
