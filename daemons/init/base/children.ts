import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";

/** The processes that init started itself: libuv waits for these, and nobody else may. */
export interface Children {
  /** As node:child_process does it; the process counts as ours until its exit was reported. */
  spawn(command: string, args: readonly string[], options: SpawnOptions): ChildProcess;
  has(pid: number): boolean;
}

export function openChildren(): Children {
  const pids = new Set<number>();
  return {
    spawn(command, args, options) {
      const child = spawn(command, args, options);
      const { pid } = child;
      if (pid !== undefined) {
        pids.add(pid);
        child.once("exit", () => pids.delete(pid));
      }
      return child;
    },
    has: (pid) => pids.has(pid),
  };
}
