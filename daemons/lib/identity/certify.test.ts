import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCa, createCsr, issueCertificate, readCsr, signCsr } from "./certify.ts";
import { readCertificate } from "./pki.ts";

const now = Date.UTC(2026, 10, 21);
const ca = await createCa("test-operator", now);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-pki-");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What OpenSSL says of a certificate for a purpose, at a time, by the strictest reading of RFC 5280. */
function openssl(certificate: string, purpose: "sslserver" | "sslclient", atMs = now, by = ca): string {
  writeFileSync(join(folder, "ca.pem"), by.certificate);
  writeFileSync(join(folder, "it.pem"), certificate);
  const at = ["-attime", String(Math.floor(atMs / 1000))];
  const files = ["-CAfile", join(folder, "ca.pem"), join(folder, "it.pem")];
  try {
    const args = ["verify", "-x509_strict", "-purpose", purpose, ...at, ...files];
    return execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  } catch (error) {
    return String((error as { stderr: string }).stderr);
  }
}

/** A request (DER) as OpenSSL makes it. */
function opensslRequest(subject: string, ...options: string[]): Buffer {
  const out = join(folder, "req.der");
  const files = ["-keyout", join(folder, "k.pem"), "-out", out];
  const args = ["req", "-new", "-nodes", "-subj", subject, ...options, "-outform", "der", ...files];
  execFileSync("openssl", args, { stdio: "ignore" });
  return readFileSync(out);
}

/** A request of less than 254 bytes with NULL as its signature algorithm's parameters: what RSA has and ECDSA has not. */
function withParameters(csr: Buffer): Buffer {
  const plain = Buffer.from("300a06082a8648ce3d040302", "hex");
  const at = csr.lastIndexOf(plain);
  const algorithm = Buffer.from("300c06082a8648ce3d0403020500", "hex");
  const changed = Buffer.concat([csr.subarray(0, at), algorithm, csr.subarray(at + plain.length)]);
  changed.writeUInt8(changed.readUInt8(2) + 2, 2);
  return changed;
}

describe("certify", () => {
  it("issues a server's certificate under all its names, which OpenSSL takes for that purpose alone", async () => {
    const addresses = ["10.0.0.2", "fd00::1:2", "::ffff:1.2.3.4", "localhost", "aios"];
    const { certificate, key } = await issueCertificate(ca, { kind: "server", name: "aios", addresses }, now);
    const x509 = new X509Certificate(certificate);
    for (const name of ["aios", "localhost"]) expect(x509.checkHost(name)).toBe(name);
    for (const ip of ["10.0.0.2", "fd00::1:2", "::ffff:1.2.3.4"]) expect(x509.checkIP(ip)).toBe(ip);
    expect(x509.checkIP("10.0.0.3")).toBeUndefined();
    expect(x509.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(openssl(certificate, "sslserver")).toMatch(/OK$/);
    expect(openssl(certificate, "sslclient")).toMatch("unsuitable certificate purpose");
  });

  it("issues a client's certificate with name and role, valid for its time alone", async () => {
    const { certificate } = await issueCertificate(ca, { kind: "client", name: "alice@host", role: "operator" }, now);
    expect(readCertificate(certificate)).toMatchObject({ name: "alice@host", role: "operator" });
    expect(openssl(certificate, "sslclient")).toMatch(/OK$/);
    expect(openssl(certificate, "sslserver")).toMatch("unsuitable certificate purpose");
    const { notBefore, notAfter } = readCertificate(certificate);
    expect(openssl(certificate, "sslclient", notAfter + 1000)).toMatch("certificate has expired");
    expect(openssl(certificate, "sslclient", notBefore - 1000)).toMatch("certificate is not yet valid");
  });

  it("issues what is accepted at whichever time it turns out to have been, where the clock is not sure", async () => {
    const year = 365 * 86_400_000;
    const span = { earliestMs: now, latestMs: now + 5 * year };
    const own = await createCa("own", span);
    const client = await issueCertificate(own, { kind: "client", name: "a", role: "admin" }, span);
    const server = await issueCertificate(own, { kind: "server", name: "box", addresses: [] }, span);
    for (const at of [span.earliestMs, now + 2 * year, span.latestMs, span.latestMs + year]) {
      expect(openssl(client.certificate, "sslclient", at, own)).toMatch(/OK$/);
      expect(openssl(server.certificate, "sslserver", at, own)).toMatch(/OK$/);
    }
  });

  it("issues nothing that outlives the authority, and writes years after 2049", async () => {
    const late = readCertificate(ca.certificate).notAfter - 1000;
    const { certificate } = await issueCertificate(ca, { kind: "client", name: "a", role: "reader" }, late);
    expect(readCertificate(certificate).notAfter).toBe(readCertificate(ca.certificate).notAfter);
    const far = await createCa("far", Date.UTC(2045, 0, 1));
    expect(new Date(readCertificate(far.certificate).notAfter).getUTCFullYear()).toBe(2054);
  });

  it("writes IPv6 addresses in all their forms", async () => {
    const pairs = {
      "::": "0:0:0:0:0:0:0:0",
      "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
      "fe80::1": "FE80:0:0:0:0:0:0:1",
      "1::": "1:0:0:0:0:0:0:0",
      "::ffff:1.2.3.4": "0:0:0:0:0:FFFF:102:304",
      "64:ff9b::1.2.3.4": "64:FF9B:0:0:0:0:102:304",
      "FD00:0:0:1::ABCD:0": "FD00:0:0:1:0:0:ABCD:0",
    };
    const subject = { kind: "server", name: "a", addresses: Object.keys(pairs) } as const;
    const { certificate } = await issueCertificate(ca, subject, now);
    const written = Object.values(pairs).map((address) => `IP Address:${address}`);
    expect(new X509Certificate(certificate).subjectAltName).toBe(["DNS:a", ...written].join(", "));
  });

  it("issues from an authority that OpenSSL made, under that authority's own name", async () => {
    const [key, out] = [join(folder, "own.key"), join(folder, "own.pem")];
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-addext", "keyUsage=critical,keyCertSign"];
    const args = ["req", "-x509", "-nodes", "-subj", "/C=DE/O=Grüße, Söhne/CN=own", "-utf8", "-days", "3650", ...curve];
    execFileSync("openssl", [...args, "-keyout", key, "-out", out], { stdio: "ignore" });
    const own = { certificate: readFileSync(out, "utf8"), key: readFileSync(key, "utf8") };
    const today = readCertificate(own.certificate).notBefore + 1000;
    const { certificate } = await issueCertificate(own, { kind: "client", name: "alice", role: "admin" }, today);
    expect(openssl(certificate, "sslclient", today, own)).toMatch(/OK$/);
  });

  it("certifies a request's key under the issuer's words, whatever the request says", async () => {
    const { csr, key } = await createCsr("mallory");
    expect((await readCsr(csr)).name).toBe("mallory");
    const certificate = await signCsr(ca, csr, { kind: "client", name: "bob", role: "reader" }, now);
    expect(readCertificate(certificate)).toMatchObject({ name: "bob", role: "reader" });
    expect(new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))).toBe(true);
    writeFileSync(join(folder, "csr.der"), csr);
    const args = ["req", "-inform", "der", "-in", join(folder, "csr.der"), "-noout", "-verify", "-subject"];
    expect(execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })).toMatch("mallory");
  });

  it("takes OpenSSL's requests, and none for another kind of key", async () => {
    const newKey = (...algorithm: string[]) => opensslRequest("/O=x/CN=carol", "-newkey", ...algorithm);
    expect((await readCsr(newKey("ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha256"))).name).toBe("carol");
    const p384 = newKey("ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha256");
    await expect(readCsr(p384)).rejects.toThrow("P-256");
    await expect(readCsr(newKey("rsa:2048"))).rejects.toThrow("ECDSA with SHA-256");
    const sha384 = newKey("ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha384");
    await expect(readCsr(sha384)).rejects.toThrow("ECDSA with SHA-256");
    const extensions = ["-addext", "subjectAltName=DNS:x,IP:1.2.3.4", "-addext", "extendedKeyUsage=serverAuth"];
    const more = newKey("ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha256", ...extensions);
    const certificate = await signCsr(ca, more, { kind: "client", name: "bob", role: "reader" }, now);
    expect(new X509Certificate(certificate).subjectAltName).toBe("URI:aios:role:reader");
  });

  it("takes a key on P-256 in its usual form alone", async () => {
    for (const form of [
      ["-conv_form", "compressed"],
      ["-param_enc", "explicit"],
    ]) {
      const key = join(folder, "odd.pem");
      execFileSync("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]);
      execFileSync("openssl", ["ec", "-in", key, ...form, "-out", key], { stdio: "ignore" });
      await expect(readCsr(opensslRequest("/CN=carol", "-key", key, "-sha256")), form[1]).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
      });
    }
  });

  it("refuses a request in any form but DER's one, whatever its signature", async () => {
    const { csr } = await createCsr("alice");
    // Its length takes one byte after 0x81; the same as BER would have it, and in wrappings that are none.
    expect(csr.subarray(0, 2).toString("hex")).toBe("3081");
    const content = csr.subarray(3);
    const headers = [
      [0x30, 0x82, 0, content.length],
      [0x30, 0x83, 0, 0, content.length],
      [0xb0, 0x81, content.length],
    ];
    const others = [
      ...headers.map((header) => Buffer.concat([Buffer.from(header), content])),
      Buffer.concat([Buffer.from([0x30, 0x80]), content, Buffer.from([0, 0])]),
      withParameters(csr),
      Buffer.from(csr.toString("hex")),
      Buffer.from(csr.toString("base64")),
      Buffer.from(
        `-----BEGIN CERTIFICATE REQUEST-----\n${csr.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`,
      ),
      ...["", "04", "0480", "048101ff", "04820001ff", "0483000001ff", "0403ffff"].map((hex) => Buffer.from(hex, "hex")),
    ];
    for (const other of others)
      await expect(readCsr(other), other.toString("hex")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("refuses a request with any one byte changed, cut off or added, always as INVALID_ARGUMENT", async () => {
    const { csr } = await createCsr("alice");
    // 0x55, and what the library alone lets through: bits of tags and lengths around and within the signature.
    for (const [at, bits] of [...csr.keys()].flatMap((at) =>
      [0x55, 0x01, 0x04, 0x08, 0x80].map((bits) => [at, bits] as const),
    )) {
      const changed = Buffer.from(csr);
      changed.writeUInt8(changed.readUInt8(at) ^ bits, at);
      await expect(readCsr(changed), `byte ${at} changed by ${bits}`).rejects.toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
      await expect(readCsr(csr.subarray(0, at)), `cut at ${at}`).rejects.toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
    }
    await expect(readCsr(Buffer.concat([csr, Buffer.from([5, 0])]))).rejects.toThrow("read certificate request");
  });

  it("refuses names that no certificate can carry", async () => {
    for (const name of ["", "a b", "x\nCN=y", "ä", "-a", "a".repeat(65), "a,URI:aios:role:admin", "fe80::1%eth0"]) {
      await expect(issueCertificate(ca, { kind: "client", name, role: "reader" }, now), name).rejects.toThrow(
        "certify",
      );
      await expect(issueCertificate(ca, { kind: "server", name: "a", addresses: [name] }, now), name).rejects.toThrow(
        "certify",
      );
    }
  });
});
