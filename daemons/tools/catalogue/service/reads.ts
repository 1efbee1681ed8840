import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { beginning } from "#lib/text";
import { type LogLine, type Unit, UnitState } from "#proto/aios/init";
import { reads, type Tool } from "../../tool.ts";
import { object, serviceName, timestamp } from "../shared/index.ts";
import type { Units } from "./units.ts";

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
  managed: Type.Boolean({ description: "added to the machine, not a daemon of aiOS" }),
  enabled: Type.Boolean({ description: "started at every boot" }),
  wanted: Type.Boolean({ description: "meant to run: started, not stopped since by anyone, nor done with its work" }),
});

/** The most lines of a log that are returned at once, and the most characters of one. */
const linesMax = 1_000;
const lineLengthMax = 2_000;

export function serviceReads(init: Units, clock: Clock): readonly Tool[] {
  const describe = (unit: Unit) => ({
    name: unit.name,
    status: status[unit.state],
    ...(unit.pid > 0 && { pid: unit.pid }),
    uptime: unit.pid > 0 ? Math.max(0, Math.floor((clock.now() - unit.startedAt) / 1000)) : 0,
    restarts: unit.restarts,
    reason: unit.reason,
    managed: unit.managed,
    // The daemons' files say nothing of it: every boot starts them.
    enabled: unit.enabled || !unit.managed,
    wanted: unit.wanted,
  });
  const list = reads({
    name: "service.list",
    summary: "Lists the services that PID 1 keeps, with the state of each.",
    input: object({}),
    output: object({ services: Type.Array(described) }),
    capabilities: ["service:read"],
    timeoutMs: 10_000,
    run: async ({ signal }) => ({ services: (await init.listUnits({}, { signal })).units.map(describe) }),
  });

  const one = reads({
    name: "service.status",
    summary: "Tells one service's state, process and uptime.",
    input: object({ name: serviceName }),
    output: described,
    capabilities: ["service:read"],
    timeoutMs: 10_000,
    run: async ({ input: { name }, signal }) => describe(await init.getUnit({ name }, { signal })),
  });

  const logs = reads({
    name: "service.logs",
    role: "reader",
    summary: "Reads the last lines that a service wrote, 100 unless told otherwise, the oldest first.",
    input: object({ name: serviceName, lines: Type.Optional(Type.Integer({ minimum: 1, maximum: linesMax })) }),
    output: object({ entries: Type.Array(object({ timestamp, text: Type.String() })) }),
    capabilities: ["service:logs:{name}"],
    timeoutMs: 10_000,
    run: async ({ input: { name, lines = 100 }, signal }) => {
      const entries: { timestamp: number; text: string }[] = [];
      for await (const line of init.readLogs({ unit: name, lines, follow: false }, { signal }))
        entries.push(entry(line));
      return { entries };
    },
  });

  return [list, one, logs];
}

const entry = ({ timestamp: at, text }: LogLine) => ({
  timestamp: at,
  text: beginning(text, lineLengthMax).toWellFormed(),
});
