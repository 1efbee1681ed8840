import { X509Certificate } from "node:crypto";
import { checkServerIdentity } from "node:tls";
import { messageOf } from "#lib/errors";
import { shakeHands } from "./handshake.ts";
import type { Connection } from "./target.ts";
import { moment } from "./words.ts";

/**
 * Why a machine was not reached, with what to do; undefined when it was, and a daemon behind it is what is away. `now`: this
 * computer's clock, milliseconds since the epoch.
 */
export async function whyUnreachable({ name, access }: Connection, now: number): Promise<string | undefined> {
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
    const untimely = untimelyAt(new X509Certificate(shown.raw), now);
    if (untimely !== undefined)
      return `reach ${name}: the certificate of the machine at ${target} ${untimely}; set the clock that is wrong, this computer's or the machine's`;
    if (refused) {
      const own = shows && untimelyAt(new X509Certificate(shows.certificate), now);
      const why = own ?? "is not by its authority, or not valid by its clock";
      return `reach ${name}: the machine at ${target} does not take the certificate you show: it ${why}; see "aiosctl machines"`;
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** In words, when a certificate is not valid at a time; undefined when it is. */
function untimelyAt({ validFromDate, validToDate }: X509Certificate, now: number): string | undefined {
  const clock = `and by this computer's clock it is ${moment(now)} UTC`;
  if (now < validFromDate.getTime()) return `is valid from ${moment(validFromDate.getTime())} UTC on, ${clock}`;
  if (now > validToDate.getTime()) return `has expired: it was valid to ${moment(validToDate.getTime())} UTC, ${clock}`;
  return undefined;
}
