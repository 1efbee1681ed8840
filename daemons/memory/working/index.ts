/**
 * The working tier: goals, tasks, tool calls, decisions, patterns, metrics, and how long they are kept.
 * The daemon's wiring, its service and the long-term tier come in.
 */
export { decisionTable } from "./deeds.ts";
export { openWorking, type Working } from "./working.ts";
