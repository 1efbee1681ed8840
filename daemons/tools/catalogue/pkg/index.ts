/** Tools of pkg: Debian's packages, in the overlay. For the catalogue; what cleans asks for the packages too. */
import type { Tool } from "../../tool.ts";
import type { Outbound } from "../shared/index.ts";
import type { PackageWorld } from "./apt.ts";
import { packageChanges } from "./changes.ts";
import { packageReads } from "./reads.ts";
import { vulnerabilityTool } from "./vulnerabilities.ts";

export { machinePackages, type PackageWorld } from "./apt.ts";

interface PkgWorld {
  readonly packages: PackageWorld;
  readonly outbound: Outbound;
  readonly paths: { readonly state: string };
}

export const pkgTools = ({ packages, outbound, paths }: PkgWorld): readonly Tool[] => [
  ...packageReads(packages),
  ...packageChanges(packages, outbound),
  // What the security tracker says.
  vulnerabilityTool(packages, `${paths.state}/security/debian-tracker.json`),
];
