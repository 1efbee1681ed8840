import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "#lib/clock";
import { errnoOf } from "#lib/errors";
import { readText } from "./kernel-files.ts";

/** The processes of one unit. */
export interface Group {
  /** Its folder, where a process can join by itself; undefined where the kernel has no groups. */
  readonly folder?: string;
  /** Puts a process, and all it will start, into the group. Rejects with why not; one that has ended is no reason. */
  add(pid: number): Promise<void>;
  /** Sends SIGKILL to every process of the group. */
  kill(): void;
  /** Resolves when no process is left, or after `timeoutMs`. */
  empty(timeoutMs: number): Promise<void>;
  /** Proportional set size of all its processes, bytes. Walks their page tables: for who asks, not for a timer. */
  memoryBytes(): Promise<number>;
  /** Processor time that it used, milliseconds; 0 where the kernel does not count it. */
  cpuMs(): number;
}

export interface Groups {
  open(unit: string, limits: { readonly memoryMiB: number; readonly pids: number }): Group;
  /** Removes what `open` made, where empty. */
  close(): void;
}

const controllers = ["cpu", "memory", "pids", "io"] as const;
const lookAgainMs = 10;

/**
 * Control groups (v2) below `mount`/`name`. A controller that the kernel has given away (a host that uses v1) sets no limit;
 * without cgroup2 at all a group knows only the processes that were added, and they are killed one by one.
 */
export function openGroups(mount: string, name: string, proc: string, clock: Clock): Groups {
  const top = join(mount, name);
  if (!existsSync(join(mount, "cgroup.procs"))) {
    return { open: () => plainGroup(proc, clock), close() {} };
  }
  mkdirSync(top, { recursive: true });
  for (const folder of [mount, top]) {
    for (const controller of controllers) tryWrite(join(folder, "cgroup.subtree_control"), `+${controller}`);
  }
  return {
    open: (unit, limits) => cgroup(join(top, unit), limits, proc, clock),
    close() {
      for (const folder of [...readdirSync(top, { withFileTypes: true })].filter((entry) => entry.isDirectory())) {
        tryRemove(join(top, folder.name));
      }
      tryRemove(top);
    },
  };
}

function cgroup(folder: string, limits: { memoryMiB: number; pids: number }, proc: string, clock: Clock): Group {
  mkdirSync(folder, { recursive: true });
  tryWrite(join(folder, "memory.max"), `${limits.memoryMiB * 1024 * 1024}`);
  tryWrite(join(folder, "pids.max"), `${limits.pids}`);
  const pids = () => readText(folder, "cgroup.procs").split("\n").filter(Boolean).map(Number);
  return {
    folder,
    // Not in the loop's thread: the kernel waits for a grace period here, 5 ms and more.
    add: (pid) =>
      writeFile(join(folder, "cgroup.procs"), `${pid}`).catch((error: unknown) => {
        if (errnoOf(error) !== "ESRCH") throw error;
      }),
    kill: () => {
      if (!tryWrite(join(folder, "cgroup.kill"), "1")) killEach(pids());
    },
    empty: (timeoutMs) => until(() => pids().length === 0, timeoutMs, clock),
    memoryBytes: () => pssOf(pids(), proc),
    cpuMs: () => Math.round(Number(/^usage_usec (\d+)/m.exec(readText(folder, "cpu.stat"))?.[1] ?? 0) / 1000),
  };
}

function plainGroup(proc: string, clock: Clock): Group {
  const added = new Set<number>();
  const living = () => [...added].filter((pid) => existsSync(join(proc, `${pid}`)) || !added.delete(pid));
  return {
    add: async (pid) => {
      added.add(pid);
    },
    kill: () => killEach(living()),
    empty: (timeoutMs) => until(() => living().length === 0, timeoutMs, clock),
    memoryBytes: () => pssOf(living(), proc),
    cpuMs: () => 0,
  };
}

async function pssOf(pids: readonly number[], proc: string): Promise<number> {
  const each = await Promise.all(
    pids.map((pid) =>
      readFile(join(proc, `${pid}`, "smaps_rollup"), "utf8").then(
        (rollup) => Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024,
        // It has ended since.
        () => 0,
      ),
    ),
  );
  return each.reduce((sum, bytes) => sum + bytes, 0);
}

async function until(done: () => boolean, timeoutMs: number, clock: Clock): Promise<void> {
  const giveUpAt = clock.monotonic() + timeoutMs;
  while (!done() && clock.monotonic() < giveUpAt) await clock.sleep(lookAgainMs);
}

function killEach(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

function tryWrite(path: string, text: string): boolean {
  try {
    writeFileSync(path, text);
    return true;
  } catch {
    return false;
  }
}

function tryRemove(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Something lives in it still: it goes with the machine.
  }
}
