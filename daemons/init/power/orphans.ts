import { statOf } from "#lib/linux/proc";
import { namesIn } from "../base/index.ts";

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
    const stat = statOf(proc, name);
    return stat?.state === "Z" && stat.parent === self;
  });
  return orphans.filter((pid) => reap(Number(pid))).length;
}
