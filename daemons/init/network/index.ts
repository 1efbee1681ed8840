/**
 * Network cards, DHCP leases and the first firewall; all of it is loaded when the units run.
 * The machine starts it, and the clock asks it for time servers.
 */
export type { Network } from "./network.ts";
