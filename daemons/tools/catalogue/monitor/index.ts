/** Tools of monitor: how busy and how well the machine is, its logs, and the services that are looked after. For the catalogue. */
import type { State } from "../../state/index.ts";
import type { Tool } from "../../tool.ts";
import { type Observed, observeTools } from "./observe.ts";
import { usageTools } from "./usage.ts";
import { watchlistTools } from "./watchlist.ts";

interface MonitorWorld extends Observed {
  readonly state: State;
}

export const monitorTools = (world: MonitorWorld): readonly Tool[] => [
  ...usageTools(world.clock),
  ...observeTools(world),
  ...watchlistTools(world),
];
