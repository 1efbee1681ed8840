/**
 * The tools of the image: a folder for each namespace, with what several share in shared.
 * tools.ts comes in, and what writes the pages about the tools.
 *
 * The tools of the image: a folder for each namespace, and one list of them. The rest of the daemon comes in by this
 * list; the namespaces know each other's files.
 */
import type { Clock } from "#lib/clock";
import type { Client } from "#lib/rpc/service";
import type { InitService } from "#proto/aios/init";
import type { CapabilityTable, Grants, Policies, Protection } from "../access/index.ts";
import type { Keep, Ledger } from "../ledger/index.ts";
import type { Approvals, Holding } from "../pipeline/index.ts";
import type { State, Undos } from "../state/index.ts";
import type { Tool } from "../tool.ts";
import { alertTools } from "./alert/index.ts";
import { backupTools } from "./backup/index.ts";
import { configTools } from "./config/index.ts";
import { containerTools } from "./container/index.ts";
import { firewallTools } from "./firewall/index.ts";
import { fsTools } from "./fs/index.ts";
import { gitTools } from "./git/index.ts";
import { hwTools } from "./hw/index.ts";
import { monitorTools } from "./monitor/index.ts";
import { netTools } from "./net/index.ts";
import { type PackageWorld, pkgTools } from "./pkg/index.ts";
import { processTools } from "./process/index.ts";
import { secTools } from "./sec/index.ts";
import { selfTools } from "./self/index.ts";
import { serviceTools } from "./service/index.ts";
import type { KernelFolders, Outbound } from "./shared/index.ts";
import { storageTools } from "./storage/index.ts";
import { webTools } from "./web/index.ts";

export { machinePackages, type PackageWorld } from "./pkg/index.ts";
export { openOutbound } from "./shared/index.ts";

/** The means of the tools, and what they work on. */
interface World {
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
  readonly outbound: Outbound;
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
  const { init, paths } = world;
  world.holding.add("services", async (held) => {
    await init.holdServices({ held });
  });
  const tools: readonly Tool[] = [
    ...fsTools(world),
    ...processTools(world),
    ...configTools(world),
    ...alertTools(world),
    ...backupTools(world),
    ...storageTools(world),
    ...selfTools({ init, paths, tools: () => tools }),
    ...monitorTools(world),
    ...hwTools(world),
    ...serviceTools(world),
    ...pkgTools(world),
    ...gitTools(world),
    ...containerTools(world),
    ...netTools(world),
    ...webTools(world),
    ...firewallTools(world),
    ...secTools(world),
  ];
  return tools;
}
