/**
 * Identity is the socket. `/run/aios` is root's; which callers there are is one table (`daemons/reach.ts`). A daemon
 * can speak only as itself, an `agent_id` in a message that says otherwise is refused, and an operator's name and role
 * count on the console's sockets alone. `aiosctl` on the machine itself is the operator `root`, an admin. Between the
 * processes of root (init, tools, orchestrator) the file system makes no difference: they keep to their own sockets by
 * being what they are.
 */
import { readdirSync, statSync } from "node:fs";
import { messageOf } from "../errors.ts";
import type { Endpoint } from "./server.ts";
import { identityOf } from "./service.ts";

/*
 * Where the daemons' sockets are, below the folder that init makes at each boot:
 *
 *     DAEMON/PEER/socket          for one peer alone: another daemon, or the shell of the machine ("ctl")
 *     DAEMON/own/                 what the daemon keeps until the next boot
 *     agents/AGENT/DAEMON.sock    for one agent alone
 *
 * A peer's folder is the daemon's, its group is the peer's, and the setgid bit hands that on to the socket: nobody else comes
 * through, whoever they are in. Who has a folder is who may call (daemons/reach.ts).
 */

const own = "own";

/** The folder that `daemon` shares with `peer` alone: files in it can be read by these two. */
export function peerFolder(run: string, daemon: string, peer: string): string {
  return `${run}/${daemon}/${peer}`;
}

/** The socket of `daemon` for `peer` alone. */
export function socketPath(run: string, daemon: string, peer: string): string {
  return `${peerFolder(run, daemon, peer)}/socket`;
}

/** The folder of what `daemon` keeps until the next boot; closed to others. */
export function ownFolder(run: string, daemon: string): string {
  return `${run}/${daemon}/${own}`;
}

/** One endpoint for each peer that may call `daemon`. Throws when init made no folder for them. */
export function peerEndpoints(run: string, daemon: string): Endpoint[] {
  return foldersIn(`${run}/${daemon}`)
    .filter((peer) => peer !== own)
    .map((peer) => ({ path: socketPath(run, daemon, peer), identity: identityOf(peer), mode: 0o660 }));
}

/** One endpoint per folder that init made for an agent; the folder's owner is the agent's user, and so the socket's. */
export function agentEndpoints(run: string, daemon: string): Endpoint[] {
  const folder = `${run}/agents`;
  return foldersIn(folder).map((agent) => {
    const { uid, gid } = statSync(`${folder}/${agent}`);
    return {
      path: `${folder}/${agent}/${daemon}.sock`,
      identity: { kind: "agent", name: agent },
      owner: { uid, gid },
      mode: 0o600,
    };
  });
}

function foldersIn(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    throw new Error(
      `list who may call, in ${folder}: ${messageOf(error)}; init makes this folder before it starts daemons`,
    );
  }
}
