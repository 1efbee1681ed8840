/**
 * The units: their states, the processes behind them, readiness, and services that people have added.
 * The boot, the end of the machine and the API come in.
 */
export { backoff } from "./backoff.ts";
export { watchDaemons } from "./daemon-watch.ts";
export { type Managed, openManaged } from "./managed.ts";
export type { ServiceSpec } from "./services.ts";
export { Supervisor } from "./supervisor.ts";
export type { UnitState, UnitStatus } from "./units.ts";
export { machineWorld } from "./world.ts";
