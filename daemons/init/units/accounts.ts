import { hash } from "node:crypto";
import { AiosError } from "#lib/errors";

export interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** An account in the text of /etc/passwd. Throws NOT_FOUND. */
export function accountOf(user: string, passwd: string): Account {
  const fields = passwd
    .split("\n")
    .map((line) => line.split(":"))
    .find(([name]) => name === user);
  if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]), home: fields[5] || "/" };
  throw new AiosError("NOT_FOUND", { act: "find", object: `account ${user}`, reason: "it is not in /etc/passwd" });
}

/** The word in a service's file for a user that is this service's alone. */
export const ownUser = "own";

/** The numbers that Debian leaves to users who are made as they are needed (UID_GID, systemd's DynamicUser): 61184 to 65519. */
const first = 61_184;
const count = 4_336;

/**
 * The user of a service that has none: a number by its name, in no file and no group. Two names of 65 have the same one with a
 * chance of a half; then they could signal each other, and no more.
 */
export function ownAccount(name: string): Account {
  const uid = first + (hash("sha256", name, "buffer").readUInt32BE(0) % count);
  return { uid, gid: uid, home: "/" };
}

/**
 * The words by which root becomes this user for good: no group, no new privileges, no capability but, with the network, that
 * of opening ports below 1024; without it a network of its own, which leads nowhere.
 */
export function becomeOwn({ uid, gid }: Account, network: boolean): string[] {
  const rights = network ? "-all,+net_bind_service" : "-all";
  return [
    ...(network ? [] : ["unshare", "--net", "--"]),
    ...["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--no-new-privs"],
    ...[`--inh-caps=${rights}`, `--ambient-caps=${rights}`, `--bounding-set=${rights}`, "--"],
  ];
}
