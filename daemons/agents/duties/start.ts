/**
 * Duties are loaded when the machine is up, from a file beside the agents' bundle: eight processes start at once during
 * the boot, and the beat says when an agent is on duty. First wakes are spread over the interval, but for the system
 * agent's health check.
 */
import type { Client } from "#lib/rpc/service";
import { DutiesService } from "#proto/aios/duties";
import type { CallTool } from "../work.ts";
import { dev } from "./dev.ts";
import { type Duty, keepDuty, type Surroundings, type Ways } from "./duty.ts";
import { monitor } from "./monitor.ts";
import { network } from "./network.ts";
import { packages } from "./package.ts";
import { security } from "./security.ts";
import { storage } from "./storage.ts";
import { system } from "./system.ts";
import { task } from "./task.ts";

/** The eight. */
export const duties: readonly Duty[] = [system, network, security, monitor, packages, storage, task, dev];

/** A scan takes its time; the tools' own limits are shorter. */
const callTimeoutMs = 150_000;

const listenAgainMs = 5_000;

/** Given by who loads this: gRPC is in the agents' bundle already. */
type ConnectTo = (definition: typeof DutiesService) => Client<typeof DutiesService>;

/** Begins an agent's duties, if it has any, on its own sockets. Returns at once. */
export function startDuties(agent: string, connectTo: ConnectTo, callTool: CallTool, around: Surroundings): void {
  const duty = duties.find(({ name }) => name === agent);
  if (duty === undefined || duty.wakes.length === 0) return;
  void keepDuty(duty, waysOver(connectTo(DutiesService), callTool, around), around);
}

function waysOver(client: Client<typeof DutiesService>, callTool: CallTool, { clock }: Surroundings): Ways {
  return {
    async call(tool, input, reason, signal) {
      // By no id: what is looked at again and again is counted in the ledger (tools/pipeline/repeats.ts).
      const call = { tool, input: Buffer.from(JSON.stringify(input)), taskId: "", reason };
      const { success, output, error, errorCode } = await callTool(call, callTimeoutMs, signal);
      if (!success) throw new Error([tool, errorCode, error].filter((words) => words !== "").join(": "));
      return JSON.parse(output.toString("utf8") || "{}");
    },
    async report({ notices, metrics, services }) {
      const sourced = notices.map((notice) => ({ ...notice, source: "" }));
      await client.report({ notices: sourced, metrics: [...metrics], services: [...services] });
    },
    services: async () => (await client.getWatchList({})).services,
    async listen(categories, wake, signal) {
      while (!signal.aborted) {
        try {
          for await (const _ of client.listen({ categories: [...categories] }, { signal })) wake();
        } catch {
          // The orchestrator is away: it is listened to again when it is back.
        }
        await clock.sleep(listenAgainMs, signal).catch(() => {});
      }
    },
  };
}
