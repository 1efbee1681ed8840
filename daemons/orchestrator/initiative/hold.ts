/**
 * What agents have started is frozen with the agents: the orchestrator asks aios-tools (`aios.tools.Holding`) for
 * programs of `process.spawn` and containers that an agent made (a label says so), and that asks PID 1 for services
 * whose file says `defined_by = "agent NAME"`. A resume lets all of it go on before the stop is forgotten; after a
 * reboot it is held anew, but the agents themselves start, since a boot waits for them.
 */
import { type Clock, timeoutSignal } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import type { HoldingService } from "#proto/aios/holding";
import { patiently } from "../patience.ts";

/** How long it waits for aios-tools, which may be starting. */
const holdTimeoutMs = 20_000;

/** Has aios-tools hold what agents have started, or let it go on. Throws what keeps it from that. */
export const holdOver = (tools: Client<typeof HoldingService>, clock: Clock) => async (held: boolean) => {
  const late = timeoutSignal(holdTimeoutMs);
  try {
    await patiently(clock, late, () => tools.setHeld({ held }, { signal: late }));
  } catch (error) {
    if (!late.aborted) throw error;
    throw new AiosError("UNAVAILABLE", {
      act: held ? "hold" : "release",
      object: "what agents have started",
      reason: `aios-tools did not answer within ${holdTimeoutMs / 1000} s`,
      next: 'see "aiosctl units", and do it again',
    });
  }
};
