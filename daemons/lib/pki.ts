import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import * as der from "./der.ts";
import { AiosError, messageOf } from "./errors.ts";

/** What a client certificate allows, from least to most. */
export const roles = ["reader", "operator", "admin"] as const;
export type Role = (typeof roles)[number];

/** A certificate and its private key (PKCS#8), both PEM. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** Whose certificate it is: a machine (TLS server) under each of its names and addresses, or a person or program (TLS client). */
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

const ecdsaWithSha256 = der.sequence(der.oid("1.2.840.10045.4.3.2"));

/** All that precedes the point in the public key of a P-256 pair: another kind of key does not begin like this. */
const p256Prefix = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex");
const p256Length = p256Prefix.length + 65;

/** Names of people and machines, as certificates and logs carry them. */
const namePattern = /^[A-Za-z0-9]([A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?$/;
const roleScheme = "aios:role:";

/** A new certificate authority (P-256, ten years, issues no further authorities). */
export function createCa(name: string, nowMs: number): KeyPair {
  const keys = newKeys();
  const extensions = [
    extension("2.5.29.19", true, der.sequence(der.yes, der.integer(Buffer.from([0])))),
    extension("2.5.29.15", true, der.bits(Buffer.from([0x06]), 1)), // keyCertSign, cRLSign
    extension("2.5.29.14", false, der.octets(keyId(keys.spki))),
  ];
  const names = { issuer: named(name), subject: named(name) };
  const certificate = seal(names, keys.spki, validity(nowMs, validityMs.ca), extensions, keys.privateKey);
  return { certificate, key: exported(keys.privateKey) };
}

/** A new key and its certificate. Throws INVALID_ARGUMENT for a name or an address that no certificate can carry. */
export function issueCertificate(ca: KeyPair, subject: Subject, nowMs: number): KeyPair {
  const keys = newKeys();
  return { certificate: issue(ca, subject, keys.spki, nowMs), key: exported(keys.privateKey) };
}

/** A new key and the request (PKCS#10, DER) to have it certified under `name`. */
export function createCsr(name: string): { csr: Buffer; key: string } {
  const { spki, privateKey } = newKeys();
  const info = der.sequence(der.integer(Buffer.from([0])), named(name), spki, der.tagged(0, Buffer.alloc(0), true));
  return { csr: signed(info, privateKey), key: exported(privateKey) };
}

/**
 * The certificate (PEM) for a request's key. Nothing but the key is taken from the request: who it is for is the issuer's word.
 * Throws INVALID_ARGUMENT when it is no request for a P-256 key, or not signed with that key.
 */
export function signCsr(ca: KeyPair, csr: Buffer, subject: Subject, nowMs: number): string {
  return issue(ca, subject, readCsr(csr).spki, nowMs);
}

/** The name that a request asks for and its public key (SPKI, DER), once its signature has been verified. Throws INVALID_ARGUMENT. */
export function readCsr(csr: Buffer): { name: string; spki: Buffer } {
  try {
    const [whole, ...more] = der.readValues(csr);
    const [info, algorithm, signature] = der.readSequence(whole);
    const [, subject, spki] = der.readSequence(info);
    if (more.length > 0 || !algorithm?.whole.equals(ecdsaWithSha256))
      throw new Error("it is not signed by ECDSA with SHA-256");
    if (spki?.whole.length !== p256Length || !spki.whole.subarray(0, p256Prefix.length).equals(p256Prefix))
      throw new Error("its key is not on the curve P-256");
    const key = createPublicKey({ key: spki.whole, format: "der", type: "spki" });
    if (!verify("sha256", info?.whole ?? Buffer.alloc(0), key, der.readBits(signature)))
      throw new Error("its signature is not by its own key");
    return { name: commonName(subject), spki: Buffer.from(spki.whole) };
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", `read certificate request: ${messageOf(error)}`, { cause: error });
  }
}

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

/** Whether `role` allows what `least` is needed for. */
export function allows(role: Role, least: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(least);
}

function issue(ca: KeyPair, subject: Subject, spki: Buffer, nowMs: number): string {
  const authority = new X509Certificate(ca.certificate);
  const server = subject.kind === "server";
  const authorityKeyId = der.tagged(0, keyId(authority.publicKey.export({ type: "spki", format: "der" })), false);
  const purpose = server ? "1.3.6.1.5.5.7.3.1" : "1.3.6.1.5.5.7.3.2";
  const extensions = [
    extension("2.5.29.19", true, der.sequence()),
    extension("2.5.29.15", true, der.bits(Buffer.from([0x80]), 7)), // digitalSignature
    extension("2.5.29.37", false, der.sequence(der.oid(purpose))),
    extension("2.5.29.14", false, der.octets(keyId(spki))),
    extension("2.5.29.35", false, der.sequence(authorityKeyId)),
    extension("2.5.29.17", false, der.sequence(...alternativeNames(subject))),
  ];
  const issuer = der.readSequence(der.readSequence(der.readValues(authority.raw)[0])[0])[5];
  const names = { issuer: issuer?.whole ?? Buffer.alloc(0), subject: named(subject.name) };
  const times = validity(nowMs, validityMs[subject.kind], Date.parse(authority.validTo));
  return seal(names, spki, times, extensions, createPrivateKey(ca.key));
}

function alternativeNames(subject: Subject): Buffer[] {
  if (subject.kind === "client") return [der.tagged(6, Buffer.from(roleScheme + subject.role), false)];
  return [...new Set([subject.name, ...subject.addresses])].map((address) => {
    if (isIP(address) !== 0) return der.tagged(7, der.ipBytes(address), false);
    if (!namePattern.test(address)) throw invalidName(address);
    return der.tagged(2, Buffer.from(address), false);
  });
}

interface Names {
  readonly issuer: Buffer;
  readonly subject: Buffer;
}

function seal(names: Names, spki: Buffer, times: Buffer, extensions: Buffer[], key: KeyObject): string {
  const info = der.sequence(
    der.tagged(0, der.integer(Buffer.from([2])), true),
    der.integer(randomBytes(16)),
    ecdsaWithSha256,
    names.issuer,
    times,
    names.subject,
    spki,
    der.tagged(3, der.sequence(...extensions), true),
  );
  return pem(signed(info, key));
}

function signed(info: Buffer, key: KeyObject): Buffer {
  return der.sequence(info, ecdsaWithSha256, der.bits(sign("sha256", info, key)));
}

function validity(nowMs: number, lengthMs: number, endMs = Number.POSITIVE_INFINITY): Buffer {
  return der.sequence(der.time(nowMs - clockSkewMs), der.time(Math.min(nowMs + lengthMs, endMs)));
}

const commonNameOid = der.oid("2.5.4.3");

function named(name: string): Buffer {
  if (!namePattern.test(name)) throw invalidName(name);
  return der.sequence(der.set(der.sequence(commonNameOid, der.utf8(name))));
}

function commonName(subject: der.Value | undefined): string {
  const attributes = der.readSequence(subject).flatMap((part) => der.readValues(part.content));
  const pairs = attributes.map((attribute) => der.readSequence(attribute));
  const name = pairs.find(([type]) => type?.whole.equals(commonNameOid))?.[1]?.content.toString() ?? "";
  if (!namePattern.test(name)) throw invalidName(name);
  return name;
}

function invalidName(name: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "certify",
    object: JSON.stringify(name.slice(0, 80)),
    reason: "a name has 1 to 64 letters, digits, '.', '_', '@' or '-', and begins and ends with a letter or digit",
  });
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return der.sequence(der.oid(id), ...(critical ? [der.yes] : []), der.octets(value));
}

/** RFC 5280's key identifier: SHA-1 of the point. It names a key, nothing trusts it. */
function keyId(spki: Buffer): Buffer {
  return createHash("sha1").update(spki.subarray(p256Prefix.length)).digest();
}

function newKeys(): { spki: Buffer; privateKey: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { spki: publicKey.export({ type: "spki", format: "der" }), privateKey };
}

function exported(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }) as string;
}

function pem(certificate: Buffer): string {
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
