import "reflect-metadata"; // first: @peculiar/x509 registers its types with what this adds to Reflect
import { createPrivateKey, createPublicKey, KeyObject, verify, webcrypto } from "node:crypto";
import { isIP, isIPv6 } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { Moment } from "../clock.ts";
import { AiosError, messageOf } from "../errors.ts";
import { beginning } from "../text.ts";
import { type KeyPair, namePattern, roleScheme, type Subject, validity } from "./pki.ts";

/*
 * Certificates and requests are made, and strangers' requests read, by a library that takes its time to load: what is on
 * the way to a daemon's start imports this file when it first needs it. `pki.ts` reads certificates without it.
 */

const p256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const ecdsaWithSha256 = "1.2.840.10045.4.3.2";

/** A new certificate authority (P-256, ten years, issues no further authorities). */
export async function createCa(name: string, now: Moment): Promise<KeyPair> {
  const subject = nameOf(name);
  const keys = await newKeys();
  const { from, to } = validity("ca", now);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: subject,
    keys,
    signingAlgorithm: p256,
    notBefore: new Date(from),
    notAfter: new Date(to),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: pem(certificate), key: exportKey(keys.privateKey) };
}

/** A new key and its certificate. Throws INVALID_ARGUMENT for a name or an address that no certificate can carry. */
export async function issueCertificate(ca: KeyPair, subject: Subject, now: Moment): Promise<KeyPair> {
  const { publicKey, privateKey } = await newKeys();
  const spki = KeyObject.from(publicKey).export({ type: "spki", format: "der" });
  return { certificate: await issue(ca, subject, spki, now), key: exportKey(privateKey) };
}

/** A new key and the request (PKCS#10, DER) to have it certified under `name`. */
export async function createCsr(name: string): Promise<{ csr: Buffer; key: string }> {
  const subject = nameOf(name);
  const keys = await newKeys();
  const request = await Pkcs10CertificateRequestGenerator.create({ name: subject, keys, signingAlgorithm: p256 });
  return { csr: Buffer.from(request.rawData), key: exportKey(keys.privateKey) };
}

/**
 * The certificate (PEM) for a request's key. Nothing but the key is taken from the request: who it is for is the issuer's word.
 * Throws INVALID_ARGUMENT when it is no request for a P-256 key, or not signed with that key.
 */
export async function signCsr(ca: KeyPair, csr: Buffer, subject: Subject, now: Moment): Promise<string> {
  return issue(ca, subject, (await readCsr(csr)).spki, now);
}

/** The name that a request asks for and its public key (SPKI, DER), once its signature has been verified. Throws INVALID_ARGUMENT. */
export async function readCsr(csr: Buffer): Promise<{ name: string; spki: Buffer }> {
  try {
    const request = new Request(csr);
    if (!request.canonical().equals(csr)) throw new Error("it is not DER, or something follows it");
    if (request.algorithm() !== ecdsaWithSha256) throw new Error("it is not signed by ECDSA with SHA-256");
    const spki = Buffer.from(request.publicKey.rawData);
    // OpenSSL's verification and not the library's, which reads a signature less strictly than it is written.
    if (!verify("sha256", request.signed(), p256Key(spki), Buffer.from(request.signature)))
      throw new Error("its signature is not by its own key");
    const [name = ""] = request.subjectName.getField("CN");
    if (!namePattern.test(name)) throw invalidName(name);
    return { name, spki };
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", `read certificate request: ${messageOf(error)}`, { cause: error });
  }
}

/** The library reads BER, and does not look at what follows: a request is taken in the one form that DER has for it. */
class Request extends Pkcs10CertificateRequest {
  canonical(): Buffer {
    return Buffer.from(new Pkcs10CertificateRequest(this.asn).rawData);
  }

  /** The signed bytes, as they came. */
  signed(): Buffer {
    return Buffer.from(this.asn.certificationRequestInfoRaw ?? new ArrayBuffer(0));
  }

  /** By what it is signed, as an object identifier; undefined when there are parameters, which ECDSA has not. */
  algorithm(): string | undefined {
    const { algorithm, parameters } = this.asn.signatureAlgorithm;
    return parameters === undefined ? algorithm : undefined;
  }
}

/** The key in `spki`, which must be on P-256, with the curve by name and the point in full, as every certificate has it. */
function p256Key(spki: Buffer): KeyObject {
  const key = createPublicKey({ key: spki, format: "der", type: "spki" });
  const jwk = key.export({ format: "jwk" });
  const usual = createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "der" });
  if (jwk.crv !== p256.namedCurve || !usual.equals(spki))
    throw new Error("its key is not on the curve P-256, named and with its point in full");
  return key;
}

async function issue(ca: KeyPair, subject: Subject, spki: Buffer, now: Moment): Promise<string> {
  const authority = new X509Certificate(ca.certificate);
  const { from, to } = validity(subject.kind, now);
  const certificate = await X509CertificateGenerator.create({
    issuer: authority.subjectName,
    subject: nameOf(subject.name),
    publicKey: spki,
    signingKey: createPrivateKey(ca.key).toCryptoKey(p256, false, ["sign"]),
    signingAlgorithm: p256,
    notBefore: new Date(from),
    notAfter: new Date(Math.min(to, authority.notAfter.getTime())),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([
        subject.kind === "server" ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth,
      ]),
      await SubjectKeyIdentifierExtension.create(spki),
      await AuthorityKeyIdentifierExtension.create(authority.publicKey),
      alternativeNames(subject),
    ],
  });
  return pem(certificate);
}

function alternativeNames(subject: Subject): Extension {
  if (subject.kind === "client")
    return new SubjectAlternativeNameExtension([{ type: "url", value: roleScheme + subject.role }]);
  const addresses = [...new Set([subject.name, ...subject.addresses])];
  return new SubjectAlternativeNameExtension(
    addresses.map((address) => {
      // An address with a zone means nothing on another machine.
      if (isIP(address) !== 0 && !address.includes("%")) return { type: "ip", value: inGroups(address) };
      if (!namePattern.test(address)) throw invalidName(address);
      return { type: "dns", value: address };
    }),
  );
}

/** The library misreads an IPv6 address that ends like one of IPv4; the URL parser writes every form in groups of hexadecimal digits. */
function inGroups(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

function nameOf(name: string): Name {
  if (!namePattern.test(name)) throw invalidName(name);
  return new Name([{ CN: [{ utf8String: name }] }]);
}

function invalidName(name: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "certify",
    object: JSON.stringify(beginning(name, 80)),
    reason: "a name has 1 to 64 letters, digits, '.', '_', '@' or '-', and begins and ends with a letter or digit",
  });
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(p256, true, ["sign", "verify"]);
}

function exportKey(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: "pkcs8", format: "pem" }) as string;
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}
