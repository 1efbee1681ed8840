import { statfs } from "node:fs/promises";
import { hostname, release } from "node:os";
import * as Type from "typebox";
import { memoryInfo, uptimeSeconds } from "#lib/linux/proc";
import type { Client } from "#lib/rpc/service";
import { type InitService, UnitState } from "#proto/aios/init";
import { reads, type Tool } from "../../tool.ts";
import { object } from "../shared/index.ts";

/** Above this share of the state's disk the machine counts as unwell. */
const diskFullPercent = 95;

interface SelfWorld {
  readonly init: Pick<Client<typeof InitService>, "listUnits" | "getBoot">;
  readonly paths: { readonly state: string };
  /** All tools of the machine. */
  tools(): readonly Tool[];
}

/** The machine about itself. */
export function selfTools(world: SelfWorld): readonly Tool[] {
  return [inspectTool(world), healthTool(world), versionTool(world)];
}

const facts = {
  capabilities: ["self:read"],
  timeoutMs: 10_000,
} as const;

const inspectTool = ({ init, tools }: SelfWorld) =>
  reads({
    ...facts,
    name: "self.inspect",
    summary: "Tells what this machine is made of: its boot and what is degraded, its services, its tools by namespace.",
    input: object({}),
    output: object({
      hostname: Type.String(),
      kernel: Type.String(),
      node: Type.String(),
      version: Type.String(),
      boot: object({
        id: Type.String(),
        state: Type.String(),
        autonomy_ms: Type.Integer({ description: "from kernel start; 0 when it is not reached" }),
        faults: Type.Array(Type.String()),
        phases: Type.Array(object({ name: Type.String(), state: Type.String(), duration_ms: Type.Integer() })),
      }),
      services: Type.Array(Type.String()),
      namespaces: Type.Array(object({ name: Type.String(), tools: Type.Integer() })),
    }),
    run: async ({ signal }) => {
      const [boot, { units }] = await Promise.all([init.getBoot({}, { signal }), init.listUnits({}, { signal })]);
      const { bootId: id, state, autonomyMs: autonomy_ms, faults } = boot;
      const phases = boot.phases.map(({ name, state, durationMs: duration_ms }) => ({ name, state, duration_ms }));
      const counts = new Map<string, number>();
      for (const { namespace } of tools()) counts.set(namespace, (counts.get(namespace) ?? 0) + 1);
      return {
        hostname: hostname(),
        kernel: release(),
        node: process.version,
        version: boot.version,
        boot: { id, state, autonomy_ms, faults: [...faults], phases },
        services: units.map(({ name }) => name),
        namespaces: [...counts].map(([name, tools]) => ({ name, tools })),
      };
    },
  });

const healthTool = ({ init, paths }: SelfWorld) =>
  reads({
    ...facts,
    name: "self.health",
    summary:
      "Tells whether the machine is well: every service ready, room on its disk, nothing degraded; what is not is named.",
    input: object({}),
    output: object({
      healthy: Type.Boolean(),
      services: Type.Array(object({ name: Type.String(), ready: Type.Boolean() })),
      disk_usage_percent: Type.Number(),
      memory_available_mb: Type.Integer(),
      uptime_seconds: Type.Integer(),
      issues: Type.Array(Type.String()),
    }),
    run: async ({ signal }) => {
      const [boot, { units }] = await Promise.all([init.getBoot({}, { signal }), init.listUnits({}, { signal })]);
      // A service that was stopped on purpose is not ready, and no fault.
      const ill = units.filter((unit) => unit.state !== UnitState.UNIT_READY && unit.state !== UnitState.UNIT_STOPPED);
      const disk = await usagePercent(paths.state);
      const issues = [
        ...ill.map(({ name, reason }) => `${name} is not ready${reason === "" ? "" : `: ${reason}`}`),
        ...boot.faults,
        ...(disk > diskFullPercent ? [`the disk is ${disk} % full`] : []),
      ];
      return {
        healthy: issues.length === 0,
        services: units.map(({ name, state }) => ({ name, ready: state === UnitState.UNIT_READY })),
        disk_usage_percent: disk,
        memory_available_mb: Math.round(memoryInfo("/proc")("MemAvailable") / 1024),
        uptime_seconds: uptimeSeconds("/proc"),
        issues,
      };
    },
  });

const versionTool = ({ init }: SelfWorld) =>
  reads({
    ...facts,
    name: "self.version",
    summary: "Tells the version of the image, the kernel and the runtime that the daemons run on.",
    input: object({}),
    output: object({ version: Type.String(), kernel: Type.String(), node: Type.String() }),
    run: async ({ signal }) => {
      const { version } = await init.getBoot({}, { signal });
      return { version, kernel: release(), node: process.version };
    },
  });

async function usagePercent(path: string): Promise<number> {
  const { blocks, bfree, bavail } = await statfs(path);
  const used = blocks - bfree;
  return used + bavail === 0 ? 0 : Math.round((10_000 * used) / (used + bavail)) / 100;
}
