import { createHash, X509Certificate } from "node:crypto";
import type { Moment } from "../clock.ts";
import { type Role, roles } from "./role.ts";

/** A certificate and its private key (PKCS#8), both PEM. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/**
 * The holder of a certificate: a machine (TLS server) under each of its names and addresses, or a person or program
 * (TLS client).
 */
export type Subject =
  | { readonly kind: "server"; readonly name: string; readonly addresses: readonly string[] }
  | { readonly kind: "client"; readonly name: string; readonly role: Role };

/** A certificate as we read it. Times are milliseconds since the epoch. */
export interface Certificate {
  readonly name: string;
  /** Undefined in a machine's or a CA's. */
  readonly role: Role | undefined;
  readonly notBefore: number;
  readonly notAfter: number;
  /** SHA-256 of the DER, 32 bytes. */
  readonly fingerprint: Buffer;
}

const dayMs = 86_400_000;

/** How long certificates are valid. Clients of browsers' makers take no server certificate longer than 825 days. */
export const validityMs = { ca: 3650 * dayMs, server: 825 * dayMs, client: 730 * dayMs } as const;

/** Certificates begin this much in the past: clocks of two machines differ. */
const clockSkewMs = dayMs;

/**
 * When a certificate made now is valid, milliseconds since the epoch: at whichever time of the moment it turns out to have
 * been made. A server's uses up its time with what is not known, and keeps half.
 */
export function validity(kind: keyof typeof validityMs, now: Moment): { from: number; to: number } {
  const { earliestMs, latestMs } = typeof now === "number" ? { earliestMs: now, latestMs: now } : now;
  const from = earliestMs - clockSkewMs;
  const lengthMs = validityMs[kind];
  return { from, to: kind === "server" ? Math.max(from + lengthMs, latestMs + lengthMs / 2) : latestMs + lengthMs };
}

/** Names of people and machines, as certificates and logs carry them. */
export const namePattern = /^[A-Za-z0-9]([A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?$/;
/** A client certificate has its role as an alternative name, a URI that begins like this. */
export const roleScheme = "aios:role:";

/** Name, role, times and fingerprint of a certificate (PEM or DER). */
export function readCertificate(certificate: string | Buffer): Certificate {
  const x509 = new X509Certificate(certificate);
  return {
    name: /^CN=(.*)$/m.exec(x509.subject)?.[1] ?? "",
    role: roleOf(x509.subjectAltName),
    notBefore: Date.parse(x509.validFrom),
    notAfter: Date.parse(x509.validTo),
    fingerprint: createHash("sha256").update(x509.raw).digest(),
  };
}

/** SHA-256 of a certificate's DER, 32 bytes. */
export function fingerprint(certificate: string | Buffer): Buffer {
  return readCertificate(certificate).fingerprint;
}

/** The role among a certificate's alternative names as Node prints them ("URI:aios:role:admin, DNS:…"). */
export function roleOf(subjectAltName: string | undefined): Role | undefined {
  // A name with a comma in it is printed in quotes: it could hold what looks like a role.
  if (subjectAltName?.includes('"')) return undefined;
  const names = (subjectAltName ?? "").split(", ").map((name) => name.replace(/^URI:/, ""));
  const found = roles.filter((role) => names.includes(roleScheme + role));
  return found.length === 1 ? found[0] : undefined;
}
