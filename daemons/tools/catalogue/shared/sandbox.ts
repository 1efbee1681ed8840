/**
 * What an agent starts (`process.spawn`) runs by bubblewrap, as the agent's user, with name spaces, the filter, limits
 * of its own control group, and no network unless granted.
 */
import { existsSync, realpathSync } from "node:fs";
import type { Processes } from "#lib/linux/seccomp";

/** The program and its arguments. Never a line for a shell. */
export type Argv = readonly [program: string, ...args: string[]];

/** The program that makes name spaces, as the image has it. */
const bubblewrap = "/usr/bin/bwrap";

/** The system's own files, which every sandboxed program sees, to read only. */
const system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"];

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

/** The limits of a sandboxed program unless others are given. */
export const sandboxLimits = { memory_max_mb: 1024, pids_max: 256 } as const;

/** The descriptor on which the sandbox reads the filter of system calls. */
export const filterDescriptor = 3;

interface SandboxOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Whether it may reach the network. */
  readonly network: boolean;
  /** Files and folders that it sees beside the system's, to read only. */
  readonly visible: readonly string[];
}

/**
 * The command line that runs a program in a sandbox: the system's files and those that are named to read only; name spaces of
 * its own; no new privileges; no network unless it may.
 */
export function sandboxCommand({ program, args, cwd, network, visible }: SandboxOptions): Argv {
  return [
    bubblewrap,
    ...["--unshare-all", ...(network ? ["--share-net"] : []), "--hostname", "sandbox"],
    ...view(network),
    ...[program, ...visible].flatMap((path) => ["--ro-bind-try", path, path]),
    ...["--remount-ro", "/", "--seccomp", `${filterDescriptor}`, "--chdir", cwd],
    ...["--", program, ...args],
  ];
}

/** The reach of one of our own programs, which keeps the daemon's account and works on files of any owner. */
export interface Confinement {
  /** What it may change, and what it may read beside the system's files: they stand also where a folder is hidden. */
  readonly writable?: readonly string[];
  readonly readable?: readonly string[];
  readonly network?: boolean;
  /** Whether it may start another program; any unless said. */
  readonly processes?: Processes;
  /** Folders and files that stand at another path for it, by that path: below /run, which is its own. */
  readonly moved?: Readonly<Record<string, string>>;
  /** What stands at these paths for it, to read only, whatever lies there. */
  readonly files?: Readonly<Record<string, string>>;
}

/**
 * The command line that runs a program of ours confined: the system's files to read only, and what it works on, name spaces of
 * its own, of root's capabilities only those over files' owners and modes, no network unless it may.
 */
export function confinementCommand(
  argv: Argv,
  cwd: string,
  { writable = [], readable = [], network = false, moved = {}, files = {} }: Confinement,
): Argv {
  const spaces = ["pid", "ipc", "uts", ...(network ? [] : ["net"])].map((one) => `--unshare-${one}`);
  const root = process.geteuid?.() === 0;
  const rights = root
    ? ["--cap-drop", "ALL", ...fileCapabilities.flatMap((one) => ["--cap-add", one])]
    : ["--unshare-user"];
  return [
    bubblewrap,
    ...[...spaces, "--unshare-cgroup-try", "--die-with-parent", ...rights],
    ...view(network),
    ...readable.flatMap((path) => ["--ro-bind", path, path]),
    ...writable.flatMap((path) => ["--bind", path, path]),
    ...Object.entries(moved).flatMap(([path, from]) => ["--bind", from, path]),
    ...Object.keys(files).flatMap((path, at) => ["--ro-bind-data", `${filterDescriptor + 1 + at}`, path]),
    ...["--remount-ro", "/", "--seccomp", `${filterDescriptor}`, "--chdir", cwd, "--", ...argv],
  ];
}

const fileCapabilities = ["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"];

/** The system's files to read only, and empty folders where others are hidden; with a network also the names of its name servers. */
function view(network: boolean): string[] {
  const hide = hidden.filter(existsSync).flatMap((folder) => ["--size", `${hiddenMaxBytes}`, "--tmpfs", folder]);
  const servers = network && existsSync(nameServers) ? realpathSync(nameServers) : undefined;
  const names = servers === undefined || servers === nameServers ? [] : ["--ro-bind", servers, servers];
  const seen = system.filter(existsSync).flatMap((folder) => ["--ro-bind", folder, folder]);
  return [...seen, "--dev", "/dev", "--proc", "/proc", ...hide, ...names];
}

const nameServers = "/etc/resolv.conf";
