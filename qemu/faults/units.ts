import { InitService, UnitState } from "#proto/aios/init";
import type { Machine } from "../machine.ts";

/** The units that are meant to run and do not. */
export async function notReady(machine: Machine): Promise<string[]> {
  const init = machine.client(InitService);
  try {
    const { units } = await init.listUnits({}, { timeoutMs: 5_000 });
    return units.filter(({ state, wanted }) => wanted && state !== UnitState.UNIT_READY).map(({ name }) => name);
  } finally {
    init.close();
  }
}
