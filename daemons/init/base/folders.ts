import { chmodSync, chownSync, mkdirSync } from "node:fs";
import { ownFolder, peerFolder } from "#lib/rpc/sockets";
import { daemons, users } from "#manifest";
import { calls } from "#reach";

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

interface Folder {
  readonly path: string;
  readonly mode: number;
  readonly owner: Owner;
}

const agentPrefix = "aios-agent-";

/** The agents' names, from their accounts. */
export const agentNames = Object.keys(users)
  .filter((user) => user.startsWith(agentPrefix))
  .map((user) => user.slice(agentPrefix.length));

/** The folders that daemons find when they start, in the order in which they are made. */
export function machineFolders(run: string, state: string, log: string): readonly Folder[] {
  return [
    { path: run, mode: 0o755, owner: users.root },
    ...socketFolders(run),
    { path: `${run}/agents`, mode: 0o755, owner: users.root },
    ...agentNames.map((agent) => ({
      path: `${run}/agents/${agent}`,
      mode: 0o750,
      owner: users[`${agentPrefix}${agent}` as keyof typeof users],
    })),
    { path: state, mode: 0o755, owner: users.root },
    ...["cache", "reports"].map((name) => ({ path: `${state}/${name}`, mode: 0o755, owner: users.root })),
    // The runtime pulls models into it; everyone may read them.
    { path: `${state}/models`, mode: 0o755, owner: users["aios-runtime"] },
    ...daemons.flatMap(({ user, folders }) =>
      folders.map((folder) => ({
        path: `${state}/${folder}`,
        mode: 0o700,
        owner: users[user],
      })),
    ),
    { path: log, mode: 0o700, owner: users.root },
    { path: "/home/workspaces", mode: 0o755, owner: users.root },
  ];
}

/** Where each daemon listens, and what it keeps until the next boot (lib/sockets.ts). */
function socketFolders(run: string): readonly Folder[] {
  const servers = ["init", ...daemons.map(({ name }) => name)];
  return servers.flatMap((daemon) => {
    const owner = accountOf(daemon);
    const peers = Object.keys(calls).filter((peer) => calls[peer]?.includes(daemon));
    return [
      { path: `${run}/${daemon}`, mode: 0o755, owner: users.root },
      { path: ownFolder(run, daemon), mode: 0o700, owner },
      ...peers.map((peer) => ({
        path: peerFolder(run, daemon, peer),
        mode: 0o2750,
        owner: { uid: owner.uid, gid: accountOf(peer).gid },
      })),
    ];
  });
}

/** A daemon's account; whatever is none runs as root. */
function accountOf(name: string): Owner {
  return users[daemons.find((spec) => spec.name === name)?.user ?? "root"];
}

/** Makes folders that are missing, and sets the mode and owner of all. */
export function makeFolders(folders: readonly Folder[]): void {
  for (const { path, mode, owner } of folders) {
    mkdirSync(path, { recursive: true });
    chownSync(path, owner.uid, owner.gid);
    chmodSync(path, mode);
  }
}
