/**
 * The boot: phase 1 as a list of steps, the phases after it, their timeline, and what the console says of them.
 * The machine, its services and its questions to the daemons come in.
 */
export { type BootNeeds, bootPhases } from "./boot.ts";
export { reportUnits } from "./console-lines.ts";
export { type Prepared, type PrepareNeeds, prepare } from "./prepare.ts";
export { type Boot, bootId, openBoot } from "./timeline.ts";
