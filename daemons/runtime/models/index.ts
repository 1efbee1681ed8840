/**
 * Which models are loaded, on what, with how many threads and for how long.
 * The main program and the calls about models come in.
 */
export type { LoadWishes } from "./admission.ts";
export { openMachinePool } from "./machine-pool.ts";
export type { OperatedPool } from "./model-pool.ts";
