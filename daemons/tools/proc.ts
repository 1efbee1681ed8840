import { readdirSync, readlinkSync } from "node:fs";
import { AiosError } from "#lib/errors";
import { type ProcessStat, statOf, textAt, ticksPerSecond } from "#lib/linux/proc";

/**
 * A process as the kernel tells of it, its state in words. With its start (`startTicks`) the pid names it for good: pids are
 * used again.
 */
export interface ProcessFacts extends Omit<ProcessStat, "residentPages"> {
  readonly pid: number;
  readonly uid: number;
  readonly residentBytes: number;
}

const pageBytes = 4096;

const states: Readonly<Record<string, string>> = {
  R: "running",
  S: "sleeping",
  D: "waiting for a device",
  T: "stopped",
  t: "traced",
  Z: "zombie",
  I: "idle",
  X: "dead",
};

/** Undefined when there is no such process. */
export function factsOf(pid: number): ProcessFacts | undefined {
  const stat = statOf("/proc", pid);
  const status = textAt(`/proc/${pid}/status`);
  if (stat === undefined || status === "") return undefined;
  const { residentPages, ...facts } = stat;
  return {
    ...{ pid, ...facts, state: states[facts.state] ?? "unknown" },
    uid: Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? 0),
    residentBytes: residentPages * pageBytes,
  };
}

/** Processes, by pid. */
export function allProcesses(): ProcessFacts[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => factsOf(Number(name)))
    .filter((facts) => facts !== undefined)
    .sort((a, b) => a.pid - b.pid);
}

/** The arguments a process was started with; none for threads of the kernel. */
export function commandLine(pid: number): string[] {
  return textAt(`/proc/${pid}/cmdline`).split("\0").slice(0, -1);
}

/** The program that it runs, by the path of its file; its name in brackets for what is no file's, as threads of the kernel. */
export function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
  } catch {
    return `[${factsOf(pid)?.name ?? ""}]`;
  }
}

/** When it was started, milliseconds since the epoch. */
export function startedAt({ startTicks }: ProcessFacts): number {
  const boot = Number(/^btime (\d+)/m.exec(textAt("/proc/stat"))?.[1] ?? 0);
  return boot * 1000 + (startTicks * 1000) / ticksPerSecond;
}

/** Still the same process, and not one that only waits to be reaped. */
export function lives(pid: number, startTicks: number): boolean {
  const facts = factsOf(pid);
  return facts !== undefined && facts.startTicks === startTicks && facts.state !== "zombie";
}

export function processOf(act: string, pid: number): ProcessFacts {
  const facts = factsOf(pid);
  if (facts !== undefined) return facts;
  throw new AiosError("FAILED_PRECONDITION", { act, object: `process ${pid}`, reason: "there is no such process" });
}

/** Where the daemons' programs lie: their processes are for service.stop and service.restart. */
const daemonFolder = "/usr/lib/aios/";

/** The process that a signal may go to. Throws PERMISSION_DENIED for those the machine stands on. */
export function signallable(act: string, pid: number): ProcessFacts {
  const facts = processOf(act, pid);
  const why = protectedBecause(facts);
  if (why === undefined) return facts;
  throw new AiosError("PERMISSION_DENIED", {
    act,
    object: `process ${pid} (${facts.name})`,
    reason: why,
    next: "service.stop and service.restart are for services",
  });
}

/** Why the machine stands on a process; undefined when it does not, or there is none. */
export function machineProcess(pid: number): string | undefined {
  const facts = factsOf(pid);
  return facts === undefined ? undefined : protectedBecause(facts);
}

function protectedBecause({ pid, parent }: ProcessFacts): string | undefined {
  if (pid === 1) return "it is the machine's first process";
  if (pid === 2 || parent === 2) return "it is a thread of the kernel";
  for (let at = process.pid; at > 1; at = factsOf(at)?.parent ?? 0) {
    if (at === pid) return "the tools themselves run in it";
  }
  return commandLine(pid).some((word) => word.startsWith(daemonFolder)) ? "it is a daemon of the machine" : undefined;
}
