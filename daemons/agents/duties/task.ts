import type { Duty } from "./duty.ts";

/** Runs steps of plans. It does nothing by itself, and so it has no standing grants at all. */
export const task: Duty = {
  name: "task",
  tools: [],
  limits: { callsPerWakeMax: 0 },
  wakes: [],
};
