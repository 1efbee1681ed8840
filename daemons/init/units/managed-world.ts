/**
 * The line of `sh -c` is one of two in the house (the other: podman's). A service must be in its control group before
 * it begins, or what it forks at once stays outside, and neither Node nor setpriv starts a process in a group. The
 * constant line writes its own number into the group's file and becomes the program; group, program and arguments are
 * its parameters, which a shell never reads as words of its own.
 *
 * A service is not ready because something answers on its port: PID 1 looks before it starts a service whether a
 * program listens there already.
 */
import { existsSync } from "node:fs";
import { connect } from "node:net";
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Group } from "#lib/linux/cgroups";
import { type Children, readText } from "../base/index.ts";
import type { Logs } from "../logs/index.ts";
import { type Account, accountOf, becomeOwn, ownAccount, ownUser } from "./accounts.ts";
import { type Command, neverStarted, startProcess } from "./processes.ts";
import type { ServiceSpec } from "./services.ts";
import type { Readiness, UnitProcess } from "./supervisor.ts";

interface ServiceNeeds {
  groupOf(spec: ServiceSpec): Group;
  readonly children: Children;
  readonly logs: Logs;
  readonly clock: Clock;
}

/** A service without a port counts as ready when it has run this long; one with a port has this long to answer there. */
const steadyAfterMs = 500;
const readyWithinMs = 60_000;
const lookAgainMs = 100;
const connectWithinMs = 1_000;

/** Starts a service's program as its user, in a group of its own. */
export function startService(spec: ServiceSpec, needs: ServiceNeeds): UnitProcess {
  const [program] = spec.argv;
  if (!existsSync(program)) return neverStarted(`${program} does not exist`);
  if (spec.readyPort !== undefined && isTaken(spec.readyPort)) {
    return neverStarted(`port ${spec.readyPort} is taken by another program`);
  }
  try {
    const account = spec.user === ownUser ? ownAccount(spec.name) : accountOf(spec.user, readText("/etc/passwd"));
    const group = needs.groupOf(spec);
    return startProcess(commandOf(spec, account, group.folder), group, needs.children, needs.logs.of(spec.name));
  } catch (error) {
    return neverStarted(messageOf(error));
  }
}

/**
 * Joins the group before it becomes the service: programs that fork at once would leave children outside. The line is
 * constant, and group, program and arguments are its parameters: no shell reads them as words.
 */
const joinGroup = 'if [ -n "$1" ]; then echo 0 > "$1/cgroup.procs"; fi; shift; exec "$@"';

function commandOf({ argv, user, network }: ServiceSpec, account: Account, groupFolder: string | undefined): Command {
  const { uid, gid, home } = account;
  // The account's further groups count too, which libuv's own change of user would drop.
  const named = uid === 0 ? [] : ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--init-groups", "--"];
  const become = user === ownUser ? becomeOwn(account, network) : named;
  return {
    program: "/bin/sh",
    args: ["-c", joinGroup, "sh", groupFolder ?? "", ...become, ...argv],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: home, USER: user, LANG: "C.UTF-8" },
    uid: 0,
    gid: 0,
    owner: { uid, gid },
  };
}

/** Whether a program listens on a TCP port: the service could not, and what answers there would not be the service. */
function isTaken(port: number): boolean {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = ["tcp", "tcp6"].flatMap((table) => readText("/proc/net", table).split("\n"));
  return lines.some((line) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    return state === "0A" && local.endsWith(suffix);
  });
}

/** Tells when a service is ready. What it does later shows in its process alone. */
export async function watchService(
  { readyPort: port }: ServiceSpec,
  notice: Readiness,
  signal: AbortSignal,
  clock: Clock,
): Promise<void> {
  if (port === undefined) {
    await clock.sleep(steadyAfterMs, signal).catch(() => {});
    return notice(true, "runs");
  }
  const giveUpAt = clock.monotonic() + readyWithinMs;
  while (!signal.aborted && !(await answers(port))) {
    if (clock.monotonic() > giveUpAt) {
      throw new Error(`did not answer on port ${port} within ${readyWithinMs / 1000} s`);
    }
    await clock.sleep(lookAgainMs, signal).catch(() => {});
  }
  notice(true, `answers on port ${port}`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: connectWithinMs });
    const end = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", () => end(true));
    socket.once("timeout", () => end(false));
    socket.once("error", () => end(false));
  });
}
