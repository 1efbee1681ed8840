import { join, relative } from "node:path";
import { entriesBelow } from "#lib/data/files";
import { layout } from "#manifest";
import type { Machine } from "../machine.ts";

/** A socket of a native machine, as this host reaches it. */
export interface MachineSocket {
  /** Below /run/aios: "tools/orchestrator/socket", "agents/task/tools.sock". */
  readonly name: string;
  readonly path: string;
  /** A daemon's for an agent: what comes through it may do what that agent may, and no more. */
  readonly agents: boolean;
}

/** All sockets below /run/aios of a native machine. */
export function socketsOf(machine: Machine): MachineSocket[] {
  const [init] = machine.processes();
  if (init === undefined) throw new Error("the machine has no process");
  const run = `/proc/${init.hostPid}/root${layout.run}`;
  return entriesBelow(run)
    .filter((entry) => entry.isSocket())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const name = relative(run, path);
      return { name, path, agents: name.startsWith("agents/") && !name.endsWith("/agent.sock") };
    });
}
