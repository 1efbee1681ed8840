import { existsSync } from "node:fs";
import type { Argv } from "../program.ts";

/** The program that makes name spaces, as the image has it. */
const bubblewrap = "/usr/bin/bwrap";

/** Folders that a sandboxed program sees empty: the machine's sockets and records, what others keep; it may write in them, up to 64 MiB each. */
const hidden = [
  "/tmp",
  "/var/tmp",
  "/run",
  "/mnt",
  "/media",
  "/root",
  "/home",
  "/dev/shm",
  "/var/lib/aios",
  "/etc/aios",
];
const hiddenMaxBytes = 64 * 1024 * 1024;

/** What a sandboxed program may use unless it is told otherwise. */
export const sandboxLimits = { memory_max_mb: 1024, pids_max: 256 } as const;

/** The descriptor on which the sandbox reads the filter of system calls. */
export const filterDescriptor = 3;

export interface SandboxOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Whether it may reach the network. */
  readonly network: boolean;
}

/**
 * The command line that runs a program in a sandbox: the machine's files to read only, without those that are hidden; name
 * spaces of its own; no new privileges; no network unless it may.
 */
export function sandboxed({ program, args, cwd, network }: SandboxOptions): Argv {
  const hide = hidden.filter(existsSync).flatMap((folder) => ["--size", `${hiddenMaxBytes}`, "--tmpfs", folder]);
  return [
    bubblewrap,
    ...["--unshare-all", ...(network ? ["--share-net"] : []), "--hostname", "sandbox"],
    ...["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", ...hide],
    ...["--seccomp", `${filterDescriptor}`, "--chdir", cwd],
    ...["--", program, ...args],
  ];
}
