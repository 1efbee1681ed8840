import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { socketPath } from "../rpc/sockets.ts";

/** The socket of `daemon` for `peer` in a test's folder: made as init makes it, so that the daemon listens there. */
export function openPeer(run: string, daemon: string, peer: string): string {
  const path = socketPath(run, daemon, peer);
  mkdirSync(dirname(path), { recursive: true });
  return path;
}
