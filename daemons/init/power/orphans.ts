import { namesIn, readText } from "../base/index.ts";

/**
 * Reaps the processes that PID 1 inherited: zombies whose parent is `self` and that it did not start. Never by
 * waitpid(-1), which would take libuv's own children from it. Gives back how many there were.
 */
export function reapOrphans(
  proc: string,
  self: number,
  isOurs: (pid: number) => boolean,
  reap: (pid: number) => boolean,
): number {
  const orphans = namesIn(proc).filter((name) => {
    if (!/^\d+$/.test(name) || isOurs(Number(name))) return false;
    const { state, parent } = parseStat(readText(proc, name, "stat"));
    return state === "Z" && parent === self;
  });
  return orphans.filter((pid) => reap(Number(pid))).length;
}

/** State and parent in /proc/PID/stat: "12 (a name) Z 1 …". The name may hold spaces and parentheses. */
export function parseStat(stat: string): { state: string; parent: number } {
  const [state = "", parent = "0"] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state, parent: Number(parent) };
}
