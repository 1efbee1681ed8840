import { readFileSync } from "node:fs";
import { readFile, statfs, watch } from "node:fs/promises";
import { availableParallelism } from "node:os";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { AiosError, errnoOf, messageOf } from "#lib/errors";
import { memoryInfo, uptimeSeconds } from "#lib/linux/proc";
import type { Client } from "#lib/rpc/service";
import { type InitService, UnitState } from "#proto/aios/init";
import { entriesOf, hold } from "../../files/index.ts";
import { reads, type Tool } from "../../tool.ts";
import { readGpus, readSensors } from "../hw/index.ts";
import {
  absolutePath,
  interfaceName,
  type KernelFolders,
  known,
  named,
  object,
  readCounters,
  round,
  timestamp,
} from "../shared/index.ts";

/** Lines of logs and events of a watch that are told at most. */
const linesMax = 2_000;
const eventsMax = 500;

const facts = {
  capabilities: ["monitor:read"],
  timeoutMs: 15_000,
} as const;

const number = Type.Optional(Type.Number());

export interface Observed {
  readonly init: Pick<Client<typeof InitService>, "listUnits" | "readLogs">;
  readonly clock: Clock;
  readonly kernel: KernelFolders;
  /** The machine's folders: what stands on the data volume is below `state`. */
  readonly paths: { readonly state: string };
  readonly nvidiaSmi?: string;
}

/** The tools of monitor beside those that measure processor, memory and disk. */
export function observeTools(world: Observed): readonly Tool[] {
  return [networkTool(world), gpuTool(world), healthTool(world), logsTool(world), watchTool(world)];
}

const networkTool = ({ kernel }: Observed) =>
  reads({
    name: "monitor.network",
    summary: "Tells what went through each interface since it was made: bytes, packets, errors and what was dropped.",
    input: object({ interface: Type.Optional(interfaceName) }),
    output: object({
      interfaces: Type.Array(
        object({
          interface: Type.String(),
          rx_bytes: Type.Integer(),
          tx_bytes: Type.Integer(),
          rx_packets: Type.Integer(),
          tx_packets: Type.Integer(),
          rx_errors: Type.Integer(),
          tx_errors: Type.Integer(),
          rx_dropped: Type.Integer(),
          tx_dropped: Type.Integer(),
        }),
      ),
    }),
    ...facts,
    run: async ({ input }) => {
      const all = readCounters(await readFile(`${kernel.proc}/net/dev`, "utf8"));
      const found = all.filter((one) => input.interface === undefined || one.interface === input.interface);
      if (found.length === 0 && input.interface !== undefined)
        throw new AiosError("NOT_FOUND", {
          act: "measure",
          object: input.interface,
          reason: "there is no such interface",
        });
      return {
        interfaces: found.map((one) => ({
          interface: one.interface,
          rx_bytes: one.rxBytes,
          tx_bytes: one.txBytes,
          rx_packets: one.rxPackets,
          tx_packets: one.txPackets,
          rx_errors: one.rxErrors,
          tx_errors: one.txErrors,
          rx_dropped: one.rxDropped,
          tx_dropped: one.txDropped,
        })),
      };
    },
  });

const gpuTool = ({ kernel, nvidiaSmi = "nvidia-smi" }: Observed) =>
  reads({
    name: "monitor.gpu",
    summary:
      "Tells how busy the graphics processors are, their memory in MiB, temperature and power, as far as they say.",
    input: object({}),
    output: object({
      gpus: Type.Array(
        object({
          slot: Type.String(),
          name: Type.String(),
          percent: number,
          memory_total_mb: number,
          memory_used_mb: number,
          temperature: number,
          power_watts: number,
        }),
      ),
    }),
    ...facts,
    run: async ({ signal }) => ({
      gpus: (await readGpus(kernel, nvidiaSmi, signal)).map(({ vendor: _, driver: __, ...gpu }) => gpu),
    }),
  });

/** From where on something is worth a word, and from where on it is a fault, per cent. */
const limits = { memory: { warning: 80, critical: 95 }, disk: { warning: 85, critical: 95 } } as const;

/** Processes that wait for a processor, for each one there is. */
const loadLimits = { warning: 2, critical: 8 } as const;

type Severity = "warning" | "critical";

interface Issue {
  readonly what: string;
  readonly severity: Severity;
  readonly detail: string;
}

const healthTool = (world: Observed) =>
  reads({
    name: "monitor.health",
    summary: "Looks at load, memory, disks, temperatures and services together, and tells what is wrong.",
    input: object({}),
    output: object({
      healthy: Type.Boolean({ description: "nothing is critical" }),
      issues: Type.Array(
        object({ what: Type.String(), severity: Type.Enum(["warning", "critical"]), detail: Type.String() }),
      ),
      uptime_seconds: Type.Integer(),
      load: Type.Number({ description: "over the last minute" }),
      memory_percent: Type.Number(),
      disk_percent: Type.Number({ description: "of the file system with the machine's state" }),
      services: object({ ready: Type.Integer(), failed: Type.Integer() }),
    }),
    ...facts,
    run: async ({ signal }) => {
      const { kernel, paths } = world;
      const load = Number(readFileSync(`${kernel.proc}/loadavg`, "utf8").split(" ")[0]);
      const memory = memoryPercent(kernel);
      const [disk, services, hot] = await Promise.all([
        diskPercent(paths.state),
        servicesOf(world, signal),
        hotSensors(kernel),
      ]);
      const issues = [
        ...above("load", load / availableParallelism(), loadLimits, `${load} processes want to run`),
        ...above("memory", memory, limits.memory, `${memory} % is used`),
        ...above("disk", disk, limits.disk, `${disk} % of ${paths.state} is used`),
        ...services.issues,
        ...hot,
      ];
      return {
        healthy: issues.every(({ severity }) => severity !== "critical"),
        issues,
        uptime_seconds: uptimeSeconds(kernel.proc),
        load,
        memory_percent: memory,
        disk_percent: disk,
        services: { ready: services.ready, failed: services.failed },
      };
    },
  });

function above(what: string, value: number, limit: Record<Severity, number>, detail: string): Issue[] {
  const severity = value >= limit.critical ? "critical" : value >= limit.warning ? "warning" : undefined;
  return severity === undefined ? [] : [{ what, severity, detail }];
}

function memoryPercent({ proc }: KernelFolders): number {
  const kib = memoryInfo(proc);
  const total = kib("MemTotal");
  return total === 0 ? 0 : round((100 * (total - kib("MemAvailable"))) / total);
}

async function diskPercent(path: string): Promise<number> {
  const { blocks, bfree, bavail } = await statfs(path);
  const usable = blocks - bfree + bavail;
  return usable === 0 ? 0 : round((100 * (blocks - bfree)) / usable);
}

async function servicesOf({ init }: Observed, signal: AbortSignal) {
  try {
    const { units } = await init.listUnits({}, { signal });
    const failing = units.filter(
      ({ state }) => state === UnitState.UNIT_CRASH_LOOP || state === UnitState.UNIT_BACKOFF,
    );
    return {
      ready: units.filter(({ state }) => state === UnitState.UNIT_READY).length,
      failed: failing.length,
      issues: failing.map(({ name, state, reason }) => ({
        what: `service ${name}`,
        severity: state === UnitState.UNIT_CRASH_LOOP ? ("critical" as const) : ("warning" as const),
        detail: reason,
      })),
    };
  } catch (error) {
    signal.throwIfAborted();
    return { ready: 0, failed: 0, issues: [{ what: "init", severity: "critical" as const, detail: messageOf(error) }] };
  }
}

async function hotSensors(kernel: KernelFolders): Promise<Issue[]> {
  const sensors = await readSensors(kernel);
  return sensors.flatMap((sensor): Issue[] => {
    const { device, name, value, unit } = sensor;
    const critical = "critical" in sensor ? sensor.critical : undefined;
    if (unit !== "celsius" || critical === undefined || critical <= 0 || value < critical) return [];
    return [
      {
        what: `temperature ${device} ${name}`,
        severity: "critical",
        detail: `${value} °C, critical from ${critical} °C on`,
      },
    ];
  });
}

const logsTool = ({ init }: Observed) =>
  reads({
    name: "monitor.logs",
    summary:
      "Gives back the last lines that services wrote, of one or of all, those with a word in them when asked for.",
    input: object({
      service: Type.Optional(Type.String({ pattern: "^[a-z0-9][a-z0-9_.-]{0,63}$", description: "a service's name" })),
      lines: Type.Optional(Type.Integer({ minimum: 1, maximum: linesMax })),
      contains: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: "text that a line must hold" })),
    }),
    output: object({
      entries: Type.Array(object({ service: Type.String(), timestamp, text: Type.String() })),
    }),
    ...facts,
    capabilities: ["monitor:logs"],
    run: async ({ input: { service = "", lines = 100, contains }, signal }) => {
      const entries: { service: string; timestamp: number; text: string }[] = [];
      // What does not hold the word counts too where init counts: so more are asked for.
      const asked = { unit: service, lines: contains === undefined ? lines : linesMax, follow: false };
      for await (const { unit, timestamp: at, text } of init.readLogs(asked, { signal }))
        if (contains === undefined || text.includes(contains))
          entries.push({ service: unit, timestamp: at, text: text.toWellFormed() });
      return { entries: fitting(entries.slice(-lines)) };
    },
  });

/** The youngest entries that an answer has room for. */
function fitting<T extends { text: string }>(entries: readonly T[]): T[] {
  let room = 1_000_000;
  const first = entries.findLastIndex(({ text }) => {
    room -= text.length + 100;
    return room < 0;
  });
  return entries.slice(first + 1);
}

const watchTool = ({ clock }: Observed) =>
  reads({
    name: "monitor.watch",
    summary:
      "Watches a file or the entries of a folder for some seconds, ten unless told otherwise, and tells what changed.",
    input: object({
      path: absolutePath,
      seconds: Type.Optional(Type.Number({ minimum: 0.1, maximum: 60 })),
      events_max: Type.Optional(Type.Integer({ minimum: 1, maximum: eventsMax, description: "end after so many" })),
    }),
    output: object({
      events: Type.Array(
        object({
          name: Type.String(),
          type: Type.Enum(["change", "rename"], { description: "rename: it came, went or has another name now" }),
          at: timestamp,
        }),
      ),
      complete: Type.Boolean({ description: "the whole time was watched" }),
    }),
    resources: { path: "path" },
    ...facts,
    capabilities: ["fs:read:{path}"],
    timeoutMs: 70_000,
    run: async ({ input: { seconds = 10, events_max: most = eventsMax }, resources: { path }, signal }) =>
      named("watch", path.path, async () => {
        const held = await hold(path.path);
        const over = new AbortController();
        const stop = AbortSignal.any([signal, over.signal]);
        const events: { name: string; type: "change" | "rename"; at: number }[] = [];
        const late = clock.sleep(seconds * 1000, stop).then(
          () => over.abort(),
          () => {},
        );
        try {
          for await (const { eventType, filename } of watch(entriesOf(held), { signal: stop })) {
            events.push({ name: filename ?? "", type: eventType, at: clock.now() });
            if (events.length === most) break;
          }
        } catch (error) {
          signal.throwIfAborted();
          if (errnoOf(error) !== "ABORT_ERR") throw error;
        } finally {
          over.abort();
          await late;
          await held.close();
        }
        return known({ events, complete: events.length < most });
      }),
  });
