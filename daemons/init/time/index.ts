/**
 * The wall clock: where it starts, its mark on disk, and time servers.
 * The boot, the chores and the machine come in.
 */
export { keepClock } from "./clock-keeping.ts";
export {
  bootClock,
  markEveryMs,
  rememberTime,
  type StartTime,
  setClock,
  type TimeStatus,
  timeMark,
} from "./timekeeping.ts";
