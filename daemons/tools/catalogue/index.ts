import type { Clock } from "#lib/clock";
import type { Client } from "#lib/rpc/service";
import type { InitService } from "#proto/aios/init";
import type { Grants } from "../access/grants.ts";
import type { Policies } from "../access/policy.ts";
import type { Protection } from "../access/protection.ts";
import type { CapabilityTable } from "../access/registry.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Keep } from "../ledger/prune.ts";
import type { Approvals } from "../pipeline/approvals.ts";
import type { Holding } from "../pipeline/holding.ts";
import type { State } from "../state/state.ts";
import type { Undos } from "../state/undo.ts";
import type { Tool } from "../tool.ts";
import { alertTools } from "./alert/alerts.ts";
import { backupTools } from "./backup/backups.ts";
import { configTools } from "./config/settings.ts";
import { containers } from "./container/index.ts";
import { firewallTools } from "./firewall/rules.ts";
import { fsTools } from "./fs/reads.ts";
import { gitTools } from "./git/index.ts";
import { deviceTools } from "./hw/devices.ts";
import { hwTools, type KernelFolders } from "./hw/info.ts";
import { observeTools } from "./monitor/observe.ts";
import { monitorTools } from "./monitor/usage.ts";
import { watchlistTools } from "./monitor/watchlist.ts";
import { netTools } from "./net/interfaces.ts";
import { netProbes } from "./net/probes.ts";
import { type PackageWorld, packageTools } from "./pkg/index.ts";
import { processTools } from "./process/processes.ts";
import { approvalTools } from "./sec/approvals.ts";
import { secTools } from "./sec/grants.ts";
import { placesTool } from "./sec/places.ts";
import { securityTools } from "./sec/scan.ts";
import { selfTools } from "./self/reads.ts";
import { serviceTools } from "./service/reads.ts";
import { openOutbound } from "./shared/outbound.ts";
import { storageTools } from "./storage/reads.ts";
import { webTools } from "./web/requests.ts";

/** What the tools work on. */
export interface World {
  readonly init: Client<typeof InitService>;
  readonly grants: Grants;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly kernel: KernelFolders;
  readonly state: State;
  readonly protection: Protection;
  readonly approvals: Approvals;
  /** Hears of what agents start, to hold it. */
  readonly holding: Holding;
  /** The capabilities that exist, custom tools' among them. */
  readonly table: () => CapabilityTable;
  readonly policies: Policies;
  readonly packages: PackageWorld;
  /** The machine's folders. */
  readonly paths: { readonly run: string; readonly state: string; readonly etc: string };
  readonly undos: Undos;
  /** How long the ledger is kept. */
  readonly keep: () => Keep;
}

/** Every tool of the image, by namespace. */
export function catalogue(world: World): readonly Tool[] {
  const { init, clock, kernel } = world;
  const outbound = openOutbound(world.paths.run);
  world.holding.add("services", async (held) => {
    await init.holdServices({ held });
  });
  const tools: readonly Tool[] = [
    ...fsTools(world.protection),
    ...processTools({ ...world, outbound }),
    ...configTools(world),
    ...alertTools(world),
    ...backupTools(world),
    ...storageTools(world),
    ...selfTools({ init, state: world.paths.state, tools: () => tools }),
    ...monitorTools(clock),
    ...hwTools(kernel),
    ...serviceTools(init, clock, world.paths.etc),
    ...packageTools(world.packages, world.paths.state, outbound),
    ...gitTools({ outbound, protection: world.protection, etc: world.paths.etc }),
    ...containers({ ...world, outbound }),
    ...netTools,
    ...netProbes(kernel, clock, outbound),
    ...webTools(`${world.paths.state}/ledger/spool`, outbound),
    ...firewallTools(world),
    ...deviceTools(kernel),
    ...observeTools(world),
    ...watchlistTools(world),
    ...securityTools(world),
    ...secTools(world),
    placesTool(world.protection.places),
    ...approvalTools(world),
  ];
  return tools;
}
