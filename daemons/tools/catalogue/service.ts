import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import type { Client } from "#lib/service";
import { type InitService, type Unit, UnitState } from "#proto/aios/init";
import { defineTool, type Tool } from "../tool.ts";
import { object } from "./words.ts";

const status = {
  [UnitState.UNIT_STOPPED]: "stopped",
  [UnitState.UNIT_WAITING]: "waiting",
  [UnitState.UNIT_STARTING]: "starting",
  [UnitState.UNIT_READY]: "ready",
  [UnitState.UNIT_BACKOFF]: "backoff",
  [UnitState.UNIT_CRASH_LOOP]: "crash_loop",
  [UnitState.UNIT_STOPPING]: "stopping",
  [UnitState.UNRECOGNIZED]: "unknown",
} as const satisfies Record<UnitState, string>;

const described = object({
  name: Type.String(),
  status: Type.Enum(Object.values(status)),
  pid: Type.Optional(Type.Integer({ description: "of its main process, when it runs" })),
  uptime: Type.Integer({ description: "seconds since its start; 0 when it does not run" }),
  restarts: Type.Integer(),
  reason: Type.String({ description: "why it is in this state" }),
});

/** PID 1, as far as these tools need it. */
export type Units = Pick<Client<typeof InitService>, "listUnits" | "getUnit">;

export function serviceTools(init: Units, clock: Clock): readonly Tool[] {
  const describe = ({ name, state, pid, startedAt, restarts, reason }: Unit) => ({
    name,
    status: status[state],
    ...(pid > 0 && { pid }),
    uptime: pid > 0 ? Math.max(0, Math.floor((clock.now() - startedAt) / 1000)) : 0,
    restarts,
    reason,
  });

  const list = defineTool({
    name: "service.list",
    summary: "Lists the services that PID 1 keeps, with the state of each.",
    input: object({}),
    output: object({ services: Type.Array(described) }),
    capabilities: ["service:read"],
    callers: ["core", "operator", "agent"],
    effect: "read",
    risk: "low",
    timeoutMs: 10_000,
    idempotent: true,
    confirmation: false,
    run: async ({ signal }) => ({ services: (await init.listUnits({}, { signal })).units.map(describe) }),
  });

  const one = defineTool({
    name: "service.status",
    summary: "Tells one service's state, process and uptime.",
    input: object({ name: Type.String({ pattern: "^[a-z0-9][a-z0-9_.-]{0,63}$", description: "a service's name" }) }),
    output: described,
    capabilities: ["service:read"],
    callers: ["core", "operator", "agent"],
    effect: "read",
    risk: "low",
    timeoutMs: 10_000,
    idempotent: true,
    confirmation: false,
    run: async ({ input: { name }, signal }) => describe(await init.getUnit({ name }, { signal })),
  });

  return [list, one];
}
