import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Moment } from "#lib/clock";
import { readPair, readPem, writePair } from "#lib/identity/key-files";
import type { KeyPair } from "#lib/identity/pki";

/** The machine's certificate and key, and the authorities whose certificates it takes. All PEM. */
export interface MachineIdentity {
  /** Signs the certificates of those who may come in. */
  readonly ca: string;
  /** The machine's certificate, followed by its authority's where that is the machine's own. */
  readonly certificate: string;
  readonly key: string;
}

/**
 * The identity from a provisioning volume (init has copied it to `folder`), or undefined. Throws when it is incomplete.
 */
export function provisionedIdentity(folder: string): MachineIdentity | undefined {
  if (!existsSync(join(folder, "ca.pem"))) return undefined;
  return { ca: readPem(join(folder, "ca.pem")), ...readPair(folder, "machine") };
}

/** The machine's own authority in `folder`, made at its first boot. */
export async function ownAuthority(folder: string, name: string, now: Moment): Promise<KeyPair> {
  if (!existsSync(join(folder, "ca.pem"))) {
    const { createCa } = await import("#lib/identity/certify");
    writePair(folder, "ca", await createCa(`${name}-ca`, now));
  }
  return readPair(folder, "ca");
}

/**
 * A certificate for the machine under its name and present addresses, from its own authority. It is made at each start
 * and kept in memory only. The authority's certificate goes with it: that is what an enrolment code is compared with.
 */
export async function identityFrom(
  authority: KeyPair,
  name: string,
  addresses: readonly string[],
  now: Moment,
): Promise<MachineIdentity> {
  const { issueCertificate } = await import("#lib/identity/certify");
  const pair = await issueCertificate(authority, { kind: "server", name, addresses }, now);
  return { ca: authority.certificate, certificate: pair.certificate + authority.certificate, key: pair.key };
}

/** The machine's addresses that others may reach it by. */
export function ownAddresses(interfaces: typeof networkInterfaces = networkInterfaces): string[] {
  return Object.values(interfaces())
    .flatMap((of) => of ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
    .map(({ address }) => address);
}
