import type { ChildProcess } from "node:child_process";
import type { Group } from "#lib/cgroups";
import { messageOf } from "#lib/errors";
import type { Children } from "./children.ts";
import type { UnitProcess } from "./supervisor.ts";

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly uid: number;
  readonly gid: number;
}

/** What is left of a group after its leader ended gets this long to go; then the unit counts as ended all the same. */
const emptyWithinMs = 2_000;

/** Starts a unit's process in its group. `log` gets what it writes. One that cannot be started has pid 0 and has ended. */
export function startProcess(
  { program, args, env, uid, gid }: Command,
  group: Group,
  children: Children,
  log: (chunk: Buffer | string) => void,
): UnitProcess {
  const child = children.spawn(program, args, {
    cwd: "/",
    env,
    // libuv drops the supplementary groups when it changes the user; asking it to change nothing needs no privilege.
    ...(uid !== process.getuid?.() && { uid }),
    ...(gid !== process.getgid?.() && { gid }),
    stdio: ["ignore", "pipe", "pipe"],
    // A session of its own: signals for the console's foreground group are not for daemons.
    detached: true,
  });
  const ended = endOf(child, group);
  child.stdout?.on("data", log);
  child.stderr?.on("data", log);
  // libuv cannot start a process inside a cgroup. It is moved long before Node runs a line, let alone forks.
  if (child.pid !== undefined) {
    group.add(child.pid).catch((error: unknown) => log(`aios-init: runs without limits: ${messageOf(error)}\n`));
  }
  return { pid: child.pid ?? 0, ended, terminate: () => child.kill("SIGTERM"), kill: () => group.kill() };
}

async function endOf(child: ChildProcess, group: Group): Promise<string> {
  const how = await new Promise<string>((resolve) => {
    child.once("exit", (code, signal) =>
      resolve(signal === null ? `ended with exit code ${code}` : `ended by ${signal}`),
    );
    child.on("error", (error) => {
      // Also said of a signal that could not be sent: then there is a process, and its exit is still to come.
      if (child.pid === undefined) resolve(`could not be started: ${error.message}`);
    });
  });
  // A daemon's own children do not outlive it: they would hold its ports and its files.
  group.kill();
  await group.empty(emptyWithinMs);
  return how;
}
