import type { Clock } from "#lib/clock";
import type { Client } from "#lib/service";
import type { InitService } from "#proto/aios/init";
import type { Approvals } from "../approvals.ts";
import type { Grants } from "../grants.ts";
import type { Holding } from "../holding.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Keep } from "../ledger/prune.ts";
import type { Policies } from "../policy/policy.ts";
import type { Protection } from "../protection.ts";
import type { CapabilityTable } from "../registry.ts";
import type { State } from "../state.ts";
import type { Tool } from "../tool.ts";
import type { Undos } from "../undo.ts";
import { alertTools } from "./alert.ts";
import { approvalTools } from "./approvals.ts";
import { backupTools } from "./backup.ts";
import { configTools } from "./config.ts";
import { containers } from "./container.ts";
import { deviceTools } from "./devices.ts";
import { firewallTools } from "./firewall.ts";
import { fsTools } from "./fs.ts";
import { gitTools } from "./git.ts";
import { hwTools, type KernelFolders } from "./hw.ts";
import { monitorTools } from "./monitor.ts";
import { netTools } from "./net.ts";
import { netProbes } from "./netprobe.ts";
import { observeTools } from "./observe.ts";
import { openOutbound } from "./outbound.ts";
import { type PackageWorld, packageTools } from "./pkg.ts";
import { placesTool } from "./places.ts";
import { processTools } from "./process.ts";
import { secTools } from "./sec.ts";
import { securityTools } from "./security.ts";
import { selfTools } from "./self.ts";
import { serviceTools } from "./service.ts";
import { storageTools } from "./storage.ts";
import { watchlistTools } from "./watchlist.ts";
import { webTools } from "./web.ts";

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
