import type { ChildProcess } from "node:child_process";
import { messageOf } from "#lib/errors";
import type { Group } from "#lib/linux/cgroups";
import { type Owner, startPiped } from "#lib/linux/pipes";
import type { Children } from "../base/index.ts";
import type { UnitLog } from "../logs/index.ts";
import type { UnitProcess } from "./supervisor.ts";

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly uid: number;
  readonly gid: number;
  /** The account that opens its output by name (/dev/stdout), where the program changes its account by itself. */
  readonly owner?: Owner;
}

/** The rest of a group gets this long to go after its leader ended; then the unit counts as ended all the same. */
const emptyWithinMs = 2_000;

/** Starts a unit's process in its group. One that cannot be started has pid 0 and has ended. */
export function startProcess(command: Command, group: Group, children: Children, log: UnitLog): UnitProcess {
  const { program, args, env, uid, gid, owner = { uid, gid } } = command;
  const start = (stdout: number, stderr: number) =>
    children.spawn(program, args, {
      cwd: "/",
      env,
      // libuv drops the supplementary groups when it changes the user; asking it to change nothing needs no privilege.
      ...(uid !== process.getuid?.() && { uid }),
      ...(gid !== process.getgid?.() && { gid }),
      stdio: ["ignore", stdout, stderr],
      // A session of its own: signals for the console's foreground group are not for daemons.
      detached: true,
    });
  try {
    const { child, ...output } = startPiped(start, owner);
    const ended = endOf(child, group);
    for (const pipe of [output.stdout, output.stderr]) log.read(pipe);
    // libuv cannot start a process inside a cgroup. It is moved long before Node runs a line, let alone forks.
    if (child.pid !== undefined) {
      group.add(child.pid).catch((error: unknown) => log.say(`aios-init: runs without limits: ${messageOf(error)}`));
    }
    return { pid: child.pid ?? 0, ended, terminate: () => terminate(child, group), kill: () => group.kill() };
  } catch (error) {
    return neverStarted(messageOf(error));
  }
}

/** Asks it to end; one that was held goes on for that. */
function terminate(child: ChildProcess, group: Group): void {
  child.kill("SIGTERM");
  group.freeze(false);
}

/** A process that could not be started: it has ended, for this reason. */
export function neverStarted(reason: string): UnitProcess {
  return { pid: 0, ended: Promise.resolve(`could not be started: ${reason}`), terminate() {}, kill() {} };
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
