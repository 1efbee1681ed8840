/** How a build tells how far it is: what its programs' lines mean, how long steps take, and the words. The build and who shows one may come in; no step does. */
export type { BuildEvent, Count } from "./events.ts";
export { expectedMs, forecast, pathsAhead, type TimedStep } from "./forecast.ts";
export { openReading } from "./reading.ts";
export { tellBuild } from "./tell.ts";
export { weights } from "./weights.ts";
