import type { Clock } from "#lib/clock";
import type { Grants } from "../grants.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { capabilityTable } from "../registry.ts";
import type { Tool } from "../tool.ts";
import { fsTools } from "./fs.ts";
import { hwTools, type KernelFolders } from "./hw.ts";
import { monitorTools } from "./monitor.ts";
import { secTools } from "./sec.ts";
import { serviceTools, type Units } from "./service.ts";

/** What the tools work on. */
export interface World {
  readonly init: Units;
  readonly grants: Grants;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly kernel: KernelFolders;
}

/** Every tool of the image, by namespace. */
export function catalogue({ init, grants, ledger, clock, kernel }: World): readonly Tool[] {
  const tools: readonly Tool[] = [
    ...fsTools,
    ...monitorTools(clock),
    ...hwTools(kernel),
    ...serviceTools(init, clock),
    ...secTools({ grants, ledger, table: () => capabilityTable(tools) }),
  ];
  return tools;
}
