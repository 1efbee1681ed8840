/**
 * Acts of the machine without being told each time: levels and the stop, schedules, triggers, the agents' duties, and
 * what they are granted for those. Services and sessions come in; it gives its goals as anybody does.
 */

export { type Autonomy, levels } from "./autonomy.ts";
export { holdOver } from "./hold.ts";
export { type DutiesMeans, type Further, openInitiative } from "./initiative.ts";
export { type Notice, type Notices, severities } from "./notices.ts";
export type { Schedule } from "./schedules.ts";
