import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { AiosError } from "#lib/errors";

/** A process as the kernel tells of it. */
export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly state: string;
  readonly uid: number;
  readonly threads: number;
  readonly residentBytes: number;
  readonly cpuMs: number;
  /** Since boot, hundredths of a second: with the pid it names a process for good, since pids are used again. */
  readonly startTicks: number;
}

/** The kernel's clock ticks in a second, on every Linux that Node runs on. */
const ticksPerSecond = 100;
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
  const stat = read(pid, "stat");
  const status = read(pid, "status");
  if (stat === undefined || status === undefined) return undefined;
  // The name is in parentheses and may hold any character, so also ")".
  const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const number = (at: number) => Number(fields[at] ?? 0);
  return {
    pid,
    parent: number(1),
    name,
    state: states[fields[0] ?? ""] ?? "unknown",
    uid: Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? 0),
    threads: number(17),
    residentBytes: number(21) * pageBytes,
    cpuMs: ((number(11) + number(12)) * 1000) / ticksPerSecond,
    startTicks: number(19),
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
  return (read(pid, "cmdline") ?? "").split("\0").slice(0, -1);
}

/** The program that it runs, by the path of its file; its name in brackets for what is no file's, as threads of the kernel. */
export function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
  } catch {
    return `[${factsOf(pid)?.name ?? ""}]`;
  }
}

/** Its control group in the one hierarchy of version 2; "" where there is none. */
export function groupOf(pid: number): string {
  return /^0::(.*)$/m.exec(read(pid, "cgroup") ?? "")?.[1] ?? "";
}

/** When it was started, milliseconds since the epoch. */
export function startedAt({ startTicks }: ProcessFacts): number {
  const boot = Number(/^btime (\d+)/m.exec(readFileSync("/proc/stat", "utf8"))?.[1] ?? 0);
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

function read(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // It ended.
    return undefined;
  }
}
