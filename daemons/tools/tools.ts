import { existsSync, mkdirSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { durationMs } from "#lib/config/duration";
import { effectiveConfig, stopPath } from "#lib/config/effective";
import { dataUnreadable, keysOutOfReach } from "#lib/data/machine-state";
import { type Noticed, opening, restartSoon, watchDamage } from "#lib/data/watchful";
import type { Log } from "#lib/log";
import type { Client } from "#lib/rpc/service";
import { peerFolder } from "#lib/rpc/sockets";
import type { InitService } from "#proto/aios/init";
import {
  capabilityTable,
  Limits,
  openGrants,
  openPolicies,
  openProtection,
  openRegistry,
  type Registry,
  redactedLog,
} from "./access/index.ts";
import { catalogue, machinePackages, openOutbound, type PackageWorld } from "./catalogue/index.ts";
import { openCustomTools } from "./custom/index.ts";
import { openLedger, openUpkeep, type Upkeep } from "./ledger/index.ts";
import {
  type Holding,
  Locks,
  Once,
  openApprovals,
  openExecutor,
  openGate,
  openHolding,
  openRepeats,
  openRollbacks,
  openValidation,
  runApproved,
} from "./pipeline/index.ts";
import type { Tools } from "./service.ts";
import { openReserve, openState, openUndos } from "./state/index.ts";

export interface Setting {
  readonly paths: { readonly run: string; readonly state: string; readonly etc: string };
  readonly init: Client<typeof InitService>;
  readonly clock: Clock;
  readonly log: Log;
  /** Elsewhere in tests. */
  readonly packages?: PackageWorld;
  /** Ends the daemon, so that it is started again: a database is damaged. */
  readonly restart?: () => void;
}

/** The tools with all that they stand on, from the ledger's folder; executions that were interrupted are closed. */
export function openTools(setting: Setting): Promise<OpenTools> {
  const { paths, log, restart = restartSoon } = setting;
  const folder = `${paths.state}/ledger`;
  const files = [`${folder}/ledger.db`, `${folder}/tools.db`];
  const noticed = watchDamage({ files, what: "the tools' records", next: remedy, log, restart });
  return opening(noticed, () => open(setting, folder, noticed));
}

type OpenTools = Tools & { readonly holding: Holding; close(): void };

async function open(
  { paths, init, clock, log: given, packages = machinePackages }: Setting,
  folder: string,
  noticed: Noticed,
): Promise<OpenTools> {
  const policies = openPolicies(paths, clock, given);
  const log = redactedLog(given, () => policies.last().redaction);
  mkdirSync(folder, { recursive: true });
  let upkeep: Upkeep | undefined;
  const reserve = openReserve({ path: `${folder}/reserve`, clock, log, filled: () => upkeep?.now() });
  const witness = {
    told: `${peerFolder(paths.run, "tools", "console")}/ledger-head.json`,
    kept: `${paths.state}/console/ledger-head.json`,
  };
  const keyless = dataUnreadable(paths.run) ? keysOutOfReach("sign", "the ledger of this boot").message : undefined;
  const outside = { reserve, noticed, keyless };
  // Nobody is told of a head that nobody has signed.
  const ledger = openLedger(folder, clock, log, keyless === undefined ? witness : undefined, outside);
  const state = openState(folder, clock, (what) => ledger.stateLost(what), outside);
  const grants = openGrants(state, clock);
  const undos = await openUndos(state, `${folder}/undo`, clock);
  const protection = await openProtection(paths, clock);
  const validation = openValidation();
  const approvals = openApprovals({
    ...{ state, ledger, policies, clock, log },
    takes: ({ tool, caller }) => reserve.admit(registry.find(tool), caller),
    run: (ticket, facts) => runApproved(parts, ticket, facts),
  });
  const kernel = { proc: "/proc", sys: "/sys" };
  const holding = openHolding();
  const table = () => capabilityTable(registry.list(""));
  const keep = () => ({ ageMs: keepMs(paths.run) });
  const kept = { grants, ledger, state, undos, keep };
  const outbound = openOutbound(paths.run);
  const machine = { init, clock, kernel, paths, packages, outbound };
  const world = { ...machine, ...kept, protection, approvals, policies, holding, table };
  const registry: Registry = openRegistry(catalogue(world));
  const limits = new Limits(clock);
  const added = { registry, state, validation, ledger, limits, policies, clock, log, run: paths.run };
  const custom = openCustomTools(added);
  const gate = openGate({ registry, validation, grants, protection, reserve });
  const locks = new Locks();
  const repeats = openRepeats(ledger, clock, log);
  const records = { ledger, undos, ...outside };
  const parts = { gate, policies, limits, approvals, repeats, ...records, locks, validation, clock, log };
  upkeep = openUpkeep({ ledger, undos, keep, clock, log });
  if (reserve.full()) upkeep.now();
  const once = new Once(parts);
  const rollbacks = openRollbacks({ ...parts, registry, grants, once });
  await rollbacks.settle(ledger.interrupted);
  await approvals.resume();
  if (existsSync(stopPath(paths.run)))
    holding.set(true).catch((error) => log.error("the machine is stopped, and not all is held", { error }));
  return {
    registry,
    holding,
    executor: openExecutor(parts, once),
    rollbacks,
    custom,
    noticed,
    close: () => {
      upkeep.close();
      custom.close();
      approvals.close();
      repeats.close();
      ledger.close();
      state.commits.close();
      reserve.close();
    },
  };
}

const remedy = 'what cannot be read is moved aside, and the ledger goes on; "aiosctl audit verify" tells what was lost';

/** How long the ledger is kept, as the configuration says. */
function keepMs(run: string): number {
  return durationMs(effectiveConfig(run).security?.ledger_keep ?? "180d");
}
