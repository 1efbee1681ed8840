import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import type { Client } from "#lib/service";
import type { InitService } from "#proto/aios/init";
import { catalogue } from "./catalogue/index.ts";
import { openExecutor } from "./execute.ts";
import { openGate } from "./gate.ts";
import { openGrants } from "./grants.ts";
import { openLedger } from "./ledger/ledger.ts";
import { Locks } from "./locks.ts";
import { openRegistry } from "./registry.ts";
import { openReserved } from "./reserved.ts";
import { openRollbacks } from "./rollback.ts";
import type { Tools } from "./service.ts";
import { openState } from "./state.ts";
import { openUndos } from "./undo.ts";
import { openValidation } from "./validation.ts";

export interface Setting {
  readonly paths: { readonly run: string; readonly state: string; readonly etc: string };
  readonly init: Client<typeof InitService>;
  readonly clock: Clock;
  readonly log: Log;
}

/** The tools with all that they stand on, from the ledger's folder; executions that were interrupted are closed. */
export async function openTools({ paths, init, clock, log }: Setting): Promise<Tools & { close(): void }> {
  const folder = `${paths.state}/ledger`;
  const ledger = openLedger(folder, clock, log);
  const state = openState(folder);
  const grants = openGrants(state, clock);
  const undos = await openUndos(state, `${folder}/undo`, clock);
  const reserved = await openReserved(paths);
  const validation = openValidation();
  const registry = openRegistry(
    catalogue({ init, grants, ledger, clock, kernel: { proc: "/proc", sys: "/sys" }, state, reserved, paths }),
  );
  const gate = openGate({ registry, validation, grants, reserved });
  const parts = { gate, ledger, undos, locks: new Locks(), validation, clock, log };
  const rollbacks = openRollbacks({ ...parts, registry, grants });
  await rollbacks.settle(ledger.interrupted);
  return {
    registry,
    executor: openExecutor(parts),
    rollbacks,
    close: () => {
      ledger.close();
      state.commits.close();
    },
  };
}
