import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../clock.ts";
import { errnoOf } from "../errors.ts";
import { statOf, textAt } from "./proc.ts";

/** What the processes of a group may use together. */
export interface Limits {
  readonly memoryMiB: number;
  /** Processes and threads. */
  readonly pids: number;
  /** Processors' worth of time; as much as there is when absent. */
  readonly cpuCores?: number;
}

/** The processes of one unit, and of the groups below its own. */
export interface Group {
  /** Its folder, where a process can join by itself; undefined where the kernel has no groups. */
  readonly folder?: string;
  /** Puts a process, and all it will start, into the group. Rejects with why not; one that has ended is no reason. */
  add(pid: number): Promise<void>;
  /** Sends SIGKILL to every process of the group. */
  kill(): void;
  /** Keeps its processes, and those that join it, from running on; or lets them. */
  freeze(frozen: boolean): void;
  /** Resolves when no process is left, or after `timeoutMs`. */
  empty(timeoutMs: number): Promise<void>;
  /** Gives it so many processors' worth of time, or what its limits say. False where the kernel sets no such limit. */
  setCpuCores(cores: number | undefined): boolean;
  /** Proportional set size of all its processes, bytes. Walks their page tables: for who asks, not for a timer. */
  memoryBytes(): Promise<number>;
  /** What counts against its limit of memory, bytes; 0 where the kernel does not count it. */
  chargedBytes(): number;
  /** Processor time that it used, milliseconds. */
  cpuMs(): number;
  /** Its processes that the kernel has killed for want of memory, so far. */
  oomKills(): number;
}

interface Groups {
  open(unit: string, limits: Limits): Group;
  /** Opens one whose unit makes groups of its own below: the unit's process lies in a leaf beside them. */
  openNesting(unit: string, limits: Limits): Group;
  /** Controllers that the kernel gives no group here: what they would limit has no limit. */
  readonly lacking: readonly string[];
  /** Removes what `open` made, where empty. */
  close(): void;
}

const controllers = ["cpu", "memory", "pids", "io"] as const;
const lookAgainMs = 10;

/** A group with limits for others below has no processes of its own (cgroup v2); no unit's and no agent's name begins so. */
const leafName = "_own";

/** Of processor time, in which a limit is kept, microseconds. */
const cpuPeriodUs = 100_000;

/**
 * Control groups (v2) below the folder `top`, which may not be there yet. A controller that the kernel has given away (a host
 * that uses v1) sets no limit; without cgroup2, or without a folder, a group knows only the processes that were added, and
 * they are killed one by one.
 */
export function openGroups(top: string | undefined, proc: string, clock: Clock): Groups {
  if (top === undefined || !existsSync(join(dirname(top), "cgroup.procs"))) {
    const open = () => plainGroup(proc, clock);
    return { open, openNesting: open, lacking: controllers, close() {} };
  }
  mkdirSync(top, { recursive: true });
  for (const folder of [dirname(top), top]) groupFolder(folder).giveDown();
  const given = textAt(join(top, "cgroup.subtree_control")).trim().split(" ");
  return {
    open: (unit, limits) => cgroup(join(top, unit), limits, proc, clock),
    openNesting: (unit, limits) => cgroup(join(top, unit), limits, proc, clock, leafName),
    lacking: controllers.filter((controller) => !given.includes(controller)),
    close: () => removeTree(top),
  };
}

/** What is done with a group by its folder alone. */
export interface GroupFolder {
  /** Whether the kernel took it: one that gave a controller away has no such file. */
  set(file: string, text: string): boolean;
  text(file: string): string;
  /** Gives what it may limit down to the groups below it. */
  giveDown(): void;
  /** The processes in it and below. */
  pids(): number[];
  /** Sends SIGKILL to all of them. */
  kill(): void;
  /** Keeps them from running on, or lets them. False where the kernel cannot. */
  freeze(frozen: boolean): boolean;
}

export function groupFolder(folder: string): GroupFolder {
  const set = (file: string, text: string) => tryWrite(join(folder, file), text);
  return {
    set,
    text: (file) => textAt(join(folder, file)),
    giveDown: () => {
      for (const controller of controllers) set("cgroup.subtree_control", `+${controller}`);
    },
    pids: () => pidsIn(folder),
    kill: () => {
      if (!set("cgroup.kill", "1")) signalEach(pidsIn(folder), "SIGKILL");
    },
    freeze: (frozen) => set("cgroup.freeze", frozen ? "1" : "0"),
  };
}

function cgroup(folder: string, limits: Limits, proc: string, clock: Clock, leaf = ""): Group {
  mkdirSync(join(folder, leaf), { recursive: true });
  const { set, text, pids, kill, freeze } = groupFolder(folder);
  const setCpuCores = (cores = limits.cpuCores) =>
    set("cpu.max", `${cores === undefined ? "max" : Math.round(cores * cpuPeriodUs)} ${cpuPeriodUs}`);
  set("memory.max", `${limits.memoryMiB * 1024 * 1024}`);
  set("pids.max", `${limits.pids}`);
  if (limits.cpuCores !== undefined) setCpuCores();
  return {
    folder,
    // Not in the loop's thread: the kernel waits for a grace period here, 5 ms and more.
    add: (pid) =>
      writeFile(join(folder, leaf, "cgroup.procs"), `${pid}`).catch((error: unknown) => {
        if (errnoOf(error) !== "ESRCH") throw error;
      }),
    kill,
    freeze: (frozen) => {
      if (!freeze(frozen)) signalEach(pids(), frozen ? "SIGSTOP" : "SIGCONT");
    },
    empty: (timeoutMs) => until(() => !/^populated 1$/m.test(text("cgroup.events")), timeoutMs, clock),
    setCpuCores,
    memoryBytes: () => pssOf(pids(), proc),
    chargedBytes: () => Number(text("memory.current")),
    cpuMs: () => Math.round(valueIn(text("cpu.stat"), "usage_usec") / 1000),
    oomKills: () => valueIn(text("memory.events"), "oom_kill"),
  };
}

function plainGroup(proc: string, clock: Clock): Group {
  const added = new Set<number>();
  const living = () => [...added].filter((pid) => existsSync(join(proc, `${pid}`)) || !added.delete(pid));
  return {
    add: async (pid) => {
      added.add(pid);
    },
    kill: () => signalEach(living(), "SIGKILL"),
    freeze: (frozen) => signalEach(living(), frozen ? "SIGSTOP" : "SIGCONT"),
    empty: (timeoutMs) => until(() => living().length === 0, timeoutMs, clock),
    setCpuCores: () => false,
    memoryBytes: () => pssOf(living(), proc),
    chargedBytes: () => 0,
    cpuMs: () => living().reduce((sum, pid) => sum + (statOf(proc, pid)?.cpuMs ?? 0), 0),
    oomKills: () => 0,
  };
}

/** The processes of a group and of those below it. */
function pidsIn(folder: string): number[] {
  const own = textAt(join(folder, "cgroup.procs")).split("\n").filter(Boolean).map(Number);
  return [...own, ...foldersIn(folder).flatMap(pidsIn)];
}

function foldersIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(folder, name));
}

/** A value in lines of "name value"; 0 when it is not there. */
function valueIn(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
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

function signalEach(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended by itself.
    }
  }
}

/** Whether the kernel took it. The file must be there: nothing is made. */
function tryWrite(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: "r+" });
    return true;
  } catch {
    return false;
  }
}

function removeTree(folder: string): void {
  for (const below of foldersIn(folder)) removeTree(below);
  try {
    rmdirSync(folder);
  } catch {
    // Something lives in it still: it goes with the machine.
  }
}
