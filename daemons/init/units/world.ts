import { existsSync, rmSync } from "node:fs";
import type { Clock } from "#lib/clock";
import type { Group } from "#lib/linux/cgroups";
import { confined } from "#lib/linux/confinement";
import { socketPath } from "#lib/rpc/sockets";
import { type DaemonSpec, layout, nodeArguments, users } from "#manifest";
import { heldOf } from "#reach";
import type { Children } from "../base/index.ts";
import type { Logs } from "../logs/index.ts";
import { startService, watchService } from "./managed-world.ts";
import { startProcess } from "./processes.ts";
import type { ServiceSpec } from "./services.ts";
import type { UnitWorld } from "./supervisor.ts";

interface WorldNeeds {
  readonly daemons: readonly DaemonSpec[];
  readonly groups: ReadonlyMap<string, Group>;
  /** The managed units beside the daemons; what is in neither cannot be started. */
  readonly services: ReadonlyMap<string, ServiceSpec>;
  groupOf(service: ServiceSpec): Group;
  readonly children: Children;
  readonly logs: Logs;
  readonly logLevel: string;
  /** By daemon: folders of the configuration that it keeps files in, beside those of its table. */
  readonly folders: Readonly<Record<string, readonly string[]>>;
  readonly clock: Clock;
}

/** The supervisor's world on the machine: a daemon is a bundle run by Node, a managed unit any program; each as its user, in its group. */
export function machineWorld(needs: WorldNeeds): UnitWorld {
  const specs = new Map(needs.daemons.map((spec) => [spec.name, spec]));
  return {
    clock: needs.clock,
    random: Math.random,
    spawn: (unit) => {
      const service = needs.services.get(unit);
      if (service !== undefined) return startService(service, needs);
      const [spec, group] = [specs.get(unit), needs.groups.get(unit)];
      if (spec === undefined || group === undefined) throw new Error(`start ${unit}: it is not in the manifest`);
      // One that was killed left its socket: init must not take it for the next one's.
      rmSync(socketOf(unit), { force: true });
      return startProcess(command(spec, group, needs), group, needs.children, needs.logs.of(unit));
    },
    watch: async (unit, notice, signal) => {
      const service = needs.services.get(unit);
      if (service !== undefined) return watchService(service, notice, signal, needs.clock);
      // gRPC is the largest part of init's bundle: it is loaded while the first units start.
      const { watchHealth } = await import("./readiness.ts");
      await watchHealth(socketOf(unit), specs.get(unit)?.readyTimeoutMs ?? 0, needs.clock, notice, signal);
    },
  };
}

function socketOf(unit: string): string {
  return socketPath(layout.run, unit, "init");
}

function command(spec: DaemonSpec, { folder }: Group, { logLevel, folders }: WorldNeeds) {
  const { name, user, diskThreads, makesGroups } = spec;
  const words = [layout.node, ...nodeArguments(spec), `${layout.lib}/${name}.cjs`] as const;
  const holding = heldOf(name);
  const writes = [...(holding?.writes ?? []), ...(folders[name] ?? []).filter(existsSync)];
  // One that is held changes its account itself, on the way.
  const [program, ...args] =
    holding === undefined ? words : confined(words, { ...holding, writes, account: users[user] }, layout.run);
  return {
    program,
    args,
    ...users[holding === undefined ? user : "root"],
    env: {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: "/",
      LANG: "C.UTF-8",
      AIOS_LOG_LEVEL: logLevel,
      // SQLite sorts and rewrites in files: /tmp is out of reach for one that is held.
      ...(holding !== undefined && { TMPDIR: `${layout.state}/${name}` }),
      ...(makesGroups && folder !== undefined && { AIOS_GROUP: folder }),
      ...(diskThreads !== undefined && { UV_THREADPOOL_SIZE: `${diskThreads}` }),
    },
  };
}
