/** Tools of net: interfaces, routes, connections, and questions to other machines. For the catalogue. */
import type { Clock } from "#lib/clock";
import type { Tool } from "../../tool.ts";
import type { KernelFolders, Outbound } from "../shared/index.ts";
import { interfaceTools } from "./interfaces.ts";
import { probeTools } from "./probes.ts";

interface NetWorld {
  readonly kernel: KernelFolders;
  readonly clock: Clock;
  readonly outbound: Outbound;
}

export const netTools = ({ kernel, clock, outbound }: NetWorld): readonly Tool[] => [
  ...interfaceTools,
  ...probeTools(kernel, clock, outbound),
];
