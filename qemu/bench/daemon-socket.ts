import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { openPeer } from "#lib/testing/sockets";

/**
 * A socket on which the daemon of the sources in `repository` answers once it is started, its folder made. Sources of a time
 * before each peer had a socket of its own are compared with, too.
 */
export function daemonSocket(repository: string, run: string, daemon: string): string {
  mkdirSync(run, { recursive: true });
  const onePerPeer = existsSync(join(repository, "daemons/lib/rpc/sockets.ts"));
  return onePerPeer ? openPeer(run, daemon, "orchestrator") : join(run, `${daemon}.sock`);
}
