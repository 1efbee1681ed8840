/**
 * The end of the machine by signal, button or request, its watchdog, and the chores of PID 1.
 * The machine alone comes in.
 */
export { armWatchdog, keepReaping, watchDataVolume } from "./chores.ts";
export { listenForPower, type Power } from "./power.ts";
export { listenForPowerButton } from "./power-button.ts";
