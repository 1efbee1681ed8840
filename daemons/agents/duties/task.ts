import type { Duty } from "./duty.ts";

/** Runs steps of plans; of itself it does nothing, and so it has no standing grants at all. */
export const task: Duty = {
  name: "task",
  tools: [],
  limits: { callsPerWakeMax: 0 },
  wakes: [],
};
