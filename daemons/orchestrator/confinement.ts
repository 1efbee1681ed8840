import { existsSync, statSync } from "node:fs";

/** What an agent's process is held by. */
export interface Confinement {
  readonly uid: number;
  readonly gid: number;
  /** Its own folder: its sockets lie there, and it makes its own. */
  readonly folder: string;
  /** Files and folders that it may read beside the system's. */
  readonly readable: readonly string[];
  /** A file with the filter of system calls (lib/seccomp.ts). */
  readonly filter: string;
}

/** What every program reads to run at all. What lies elsewhere (/var, /home, other agents' folders) it does not see. */
const system = ["/usr", "/etc", "/proc", "/sys"];

const reading = "execute,read-file,read-dir";

/**
 * The command line that runs a program confined: as an account, without any capability or new privilege, with files to read
 * only but for its own folder (Landlock), and with a filter of system calls that leaves it no network. setpriv becomes the
 * program: no process stands between, and a kernel without Landlock runs none, rather than one that is free.
 */
export function confined(
  words: readonly [string, ...string[]],
  { uid, gid, folder, readable, filter }: Confinement,
): [string, ...string[]] {
  const rule = (rights: string, path: string) => [`--landlock-rule=path-beneath:${rights}:${path}`];
  return [
    "/usr/bin/setpriv",
    ...[`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"],
    ...["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"],
    "--landlock-access=fs",
    ...[...system, ...readable]
      .filter(existsSync)
      .flatMap((path) => rule(statSync(path).isDirectory() ? reading : "read-file", path)),
    ...rule("read-file,write-file", "/dev"),
    ...rule("read-file,read-dir,write-file,make-sock,remove-file", folder),
    `--seccomp-filter=${filter}`,
    "--",
    ...words,
  ];
}
