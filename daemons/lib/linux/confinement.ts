/**
 * All but init, tools and orchestrator, which change the machine for others and are root, are held by setpriv: no
 * capability and no new privilege, Landlock (nothing to execute but their own program and what `daemons/reach.ts`
 * names, own folders to write in, nothing to read beyond the table), and a filter of system calls (no io_uring, no name
 * spaces, no tracing; for an agent sockets that are files alone, for worker and probe none, and no signals). Runtime
 * and memory start setpriv, by which they hold their own children further: a model's worker, the GPU probe, Chroma.
 * They keep files where the configuration says, too. SQLite's own temporary files go to the daemon's folder (`TMPDIR`).
 * An agent has no name spaces of its own, and a control group of its own.
 *
 * setpriv becomes the process, so none stands between; it costs 1.5 ms natively, where bubblewrap costs 2.5 ms and a
 * process for as long as the held one lives. A kernel without Landlock starts none of them.
 */
import { existsSync, statSync, writeFileSync } from "node:fs";
import { type Sockets, seccompFilter } from "./seccomp.ts";

/** The bounds of a process: what is not given here, the kernel refuses it. */
export interface Confinement {
  /** The account that it runs as; its parent's own when absent. */
  readonly account?: { readonly uid: number; readonly gid: number };
  /** The sockets that it may make. Opening those that are files is up to their folders. */
  readonly sockets: Sockets;
  /** It reads the system's files, beside its libraries. What lies elsewhere (/var, /home, others' folders) it does not see. */
  readonly system: boolean;
  /** Files and folders to read beside these. */
  readonly reads: readonly string[];
  /** Folders to keep files in. */
  readonly writes: readonly string[];
  /** Folders to listen in. */
  readonly listens: readonly string[];
  /** Programs to start beside its own; each is held as it is. */
  readonly executes?: readonly string[];
  /** Sets what the kernel keeps of its own children in /proc. */
  readonly setsChildren?: boolean;
}

/** The files that every program reads to run at all: its libraries, what they look up, and what the kernel tells. */
const bare = ["/usr/lib", "/etc/ssl", "/etc/ld.so.cache", "/proc", "/sys"];

const systemFiles = ["/usr", "/etc"];

/** The dynamic linker, which the kernel runs with a program. */
const linker = "/lib64/ld-linux-x86-64.so.2";

const listening = "read-file,read-dir,write-file,make-sock,remove-file";
const keeping = `${listening},make-reg,make-dir,remove-dir,refer,truncate`;

/**
 * The command line that runs a program confined: as an account, without any capability or new privilege, with nothing to
 * execute but that program and those it may start, its files (Landlock), and a filter of system calls. setpriv becomes the program: no process stands
 * between, and a kernel without Landlock runs none, rather than one that is free. `run` is the folder of the filters.
 */
export function confined(
  words: readonly [string, ...string[]],
  { account, sockets, system, reads, writes, listens, executes = [], setsChildren = false }: Confinement,
  run: string,
): [string, ...string[]] {
  const rule = (rights: string) => (path: string) => `--landlock-rule=path-beneath:${rights}:${path}`;
  const readRule = (path: string) => rule(statSync(path).isDirectory() ? "read-file,read-dir" : "read-file")(path);
  return [
    "/usr/bin/setpriv",
    ...(account === undefined ? [] : [`--reuid=${account.uid}`, `--regid=${account.gid}`, "--clear-groups"]),
    ...["--no-new-privs", "--inh-caps=-all", ...(account === undefined ? [] : ["--bounding-set=-all"])],
    "--landlock-access=fs",
    ...[...bare, ...(system ? systemFiles : []), ...reads].filter(existsSync).map(readRule),
    ...[words[0], linker, ...executes].map(rule("execute,read-file")),
    ...(setsChildren ? [rule("write-file")("/proc")] : []),
    rule("read-file,write-file")("/dev"),
    ...listens.map(rule(listening)),
    ...writes.map(rule(keeping)),
    `--seccomp-filter=${filterPath(run, sockets)}`,
    "--",
    ...words,
  ];
}

const filterPath = (run: string, sockets: Sockets) => `${run}/sockets-${sockets}.seccomp`;

/** Writes the filters that `confined` names, for setpriv to read. */
export function writeFilters(run: string): void {
  for (const sockets of ["any", "unix", "none"] as const)
    writeFileSync(filterPath(run, sockets), seccompFilter(sockets), { mode: 0o644 });
}
