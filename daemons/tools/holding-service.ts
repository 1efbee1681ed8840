import { AiosError } from "#lib/errors";
import { type Service, service } from "#lib/rpc/service";
import { HoldingService } from "#proto/aios/holding";
import type { Holding } from "./pipeline/index.ts";

/** aios.tools.Holding: for the orchestrator, whose emergency stop it is. */
export function holdingService(holding: Holding): Service<typeof HoldingService> {
  return service(HoldingService, {
    setHeld: async ({ held }, { identity }) => {
      if (identity.kind !== "core" || identity.name !== "orchestrator")
        throw new AiosError("PERMISSION_DENIED", `hold what agents started: not for ${identity.name}`);
      await holding.set(held);
      return {};
    },
  });
}
