import { X509Certificate } from "node:crypto";
import { checkServerIdentity } from "node:tls";
import { messageOf } from "#lib/errors";
import { shakeHands } from "./handshake.ts";
import type { Connection } from "./target.ts";

/** Why a machine was not reached, with what to do; undefined when it was, and a daemon behind it is what is away. */
export async function whyUnreachable({ name, access }: Connection): Promise<string | undefined> {
  if (access === undefined) return undefined;
  const { target, trusts, shows } = access;
  try {
    const { shown, refused } = await shakeHands(target, shows, true);
    const ca = new X509Certificate(trusts);
    if (!new X509Certificate(shown.raw).verify(ca.publicKey))
      return `reach ${name}: what answers at ${target} is not this machine: its certificate is not by the authority known here`;
    const wrongName = checkServerIdentity(access.name, shown);
    if (wrongName !== undefined)
      return `reach ${name}: what answers at ${target} is another machine: ${wrongName.message}`;
    if (refused)
      return `reach ${name}: the machine at ${target} does not take the certificate you show: it is not by its authority, or has expired; see "aiosctl machines"`;
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
