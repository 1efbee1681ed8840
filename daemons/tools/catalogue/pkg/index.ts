import type { Tool } from "../../tool.ts";
import type { Outbound } from "../shared/outbound.ts";
import type { PackageWorld } from "./apt.ts";
import { packageChanges } from "./changes.ts";
import { packageReads } from "./reads.ts";
import { vulnerabilityTool } from "./vulnerabilities.ts";

export type { PackageWorld } from "./apt.ts";

/** The machine's own packages. */
export const machinePackages: PackageWorld = { root: "", env: {} };

/** Debian's packages, in the overlay. `state` is the machine's folder for what the security tracker says. */
export function packageTools(world: PackageWorld, state: string, outbound: Outbound): readonly Tool[] {
  const tracker = `${state}/security/debian-tracker.json`;
  return [...packageReads(world), ...packageChanges(world, outbound), vulnerabilityTool(world, tracker)];
}
