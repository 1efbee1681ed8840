import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A process of a native machine, which this host sees as one of its own. */
export interface MachineProcess {
  /** Its number in the machine. */
  readonly pid: number;
  readonly hostPid: number;
  /** Whose it is: an account of the machine. */
  readonly uid: number;
  /** Its arguments. */
  readonly argv: readonly string[];
  /** Its proportional share of memory, bytes. */
  readonly pssBytes: number;
}

/** The processes in the pid name space of process `init`, by their number there. */
export function processesOf(init: number): MachineProcess[] {
  const space = readlinkSync(`/proc/${init}/ns/pid`);
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((name) => read(Number(name), space))
    .sort((a, b) => a.pid - b.pid);
}

function read(hostPid: number, space: string): MachineProcess[] {
  try {
    if (readlinkSync(`/proc/${hostPid}/ns/pid`) !== space) return [];
    const text = (file: string) => readFileSync(`/proc/${hostPid}/${file}`, "utf8");
    const status = text("status");
    // NSpid lists its numbers from the outermost name space to its own.
    const numbers = /^NSpid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
    const kibibytes = /^Pss:\s+([0-9]+) kB$/m.exec(text("smaps_rollup"))?.[1];
    return [
      {
        pid: Number(numbers.at(-1)),
        hostPid,
        uid: Number(/^Uid:\s+([0-9]+)/m.exec(status)?.[1]),
        argv: text("cmdline").split("\0").slice(0, -1),
        pssBytes: Number(kibibytes ?? 0) * 1024,
      },
    ];
  } catch {
    return []; // it ended while we looked
  }
}
