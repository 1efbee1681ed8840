import type { Duty } from "./duty.ts";

/** Repositories are watched by the goals that work in them: which ones there are is nobody's standing business. */
export const dev: Duty = {
  name: "dev",
  tools: [],
  limits: { callsPerWakeMax: 0 },
  wakes: [],
};
