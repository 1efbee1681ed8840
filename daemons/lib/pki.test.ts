import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ipBytes, readValues } from "./der.ts";
import { allows, createCa, createCsr, issueCertificate, readCertificate, readCsr, roleOf, signCsr } from "./pki.ts";

const now = Date.UTC(2026, 10, 21);
const ca = createCa("test-operator", now);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-pki-");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What OpenSSL says of a certificate for a purpose, at a time, by the strictest reading of RFC 5280. */
function openssl(certificate: string, purpose: "sslserver" | "sslclient", atMs = now): string {
  writeFileSync(join(folder, "ca.pem"), ca.certificate);
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

describe("pki", () => {
  it("issues a server's certificate under all its names, which OpenSSL takes for that purpose alone", () => {
    const addresses = ["10.0.0.2", "fd00::1:2", "::ffff:1.2.3.4", "localhost", "aios"];
    const { certificate, key } = issueCertificate(ca, { kind: "server", name: "aios", addresses }, now);
    const x509 = new X509Certificate(certificate);
    for (const name of ["aios", "localhost"]) expect(x509.checkHost(name)).toBe(name);
    for (const ip of ["10.0.0.2", "fd00::1:2", "::ffff:1.2.3.4"]) expect(x509.checkIP(ip)).toBe(ip);
    expect(x509.checkIP("10.0.0.3")).toBeUndefined();
    expect(x509.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(openssl(certificate, "sslserver")).toMatch(/OK$/);
    expect(openssl(certificate, "sslclient")).toMatch("unsuitable certificate purpose");
  });

  it("issues a client's certificate with name and role, valid for its time alone", () => {
    const { certificate } = issueCertificate(ca, { kind: "client", name: "alice@host", role: "operator" }, now);
    expect(readCertificate(certificate)).toMatchObject({ name: "alice@host", role: "operator" });
    expect(openssl(certificate, "sslclient")).toMatch(/OK$/);
    expect(openssl(certificate, "sslserver")).toMatch("unsuitable certificate purpose");
    const { notBefore, notAfter } = readCertificate(certificate);
    expect(openssl(certificate, "sslclient", notAfter + 1000)).toMatch("certificate has expired");
    expect(openssl(certificate, "sslclient", notBefore - 1000)).toMatch("certificate is not yet valid");
  });

  it("issues nothing that outlives the authority, and writes years after 2049", () => {
    const late = readCertificate(ca.certificate).notAfter - 1000;
    const { certificate } = issueCertificate(ca, { kind: "client", name: "a", role: "reader" }, late);
    expect(readCertificate(certificate).notAfter).toBe(readCertificate(ca.certificate).notAfter);
    const far = createCa("far", Date.UTC(2045, 0, 1));
    expect(new Date(readCertificate(far.certificate).notAfter).getUTCFullYear()).toBe(2054);
  });

  it("certifies a request's key under the issuer's words, whatever the request says", () => {
    const { csr, key } = createCsr("mallory");
    expect(readCsr(csr).name).toBe("mallory");
    const certificate = signCsr(ca, csr, { kind: "client", name: "bob", role: "reader" }, now);
    expect(readCertificate(certificate)).toMatchObject({ name: "bob", role: "reader" });
    expect(new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))).toBe(true);
    writeFileSync(join(folder, "csr.der"), csr);
    const args = ["req", "-inform", "der", "-in", join(folder, "csr.der"), "-noout", "-verify", "-subject"];
    expect(execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })).toMatch("mallory");
  });

  it("takes OpenSSL's requests, and none for another kind of key", () => {
    const request = (...algorithm: string[]) => {
      const out = join(folder, "req.der");
      const files = ["-keyout", join(folder, "k.pem"), "-out", out];
      execFileSync(
        "openssl",
        ["req", "-new", "-nodes", "-subj", "/O=x/CN=carol", ...algorithm, "-outform", "der", ...files],
        {
          stdio: "ignore",
        },
      );
      return execFileSync("cat", [out]);
    };
    const p256 = request("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha256");
    expect(readCsr(p256).name).toBe("carol");
    expect(() => readCsr(request("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha256"))).toThrow("P-256");
    expect(() => readCsr(request("-newkey", "rsa:2048"))).toThrow("ECDSA with SHA-256");
  });

  it("refuses a request with any one byte changed, cut off or added, always as INVALID_ARGUMENT", () => {
    const { csr } = createCsr("alice");
    for (let at = 0; at < csr.length; at++) {
      const changed = Buffer.from(csr);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x55, at);
      expect(() => readCsr(changed), `byte ${at} changed`).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
      expect(() => readCsr(csr.subarray(0, at)), `cut at ${at}`).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
    }
    expect(() => readCsr(Buffer.concat([csr, Buffer.from([5, 0])]))).toThrow("read certificate request");
  });

  it("refuses names that no certificate can carry", () => {
    for (const name of ["", "a b", "x\nCN=y", "ä", "-a", "a".repeat(65), "a,URI:aios:role:admin"]) {
      expect(() => issueCertificate(ca, { kind: "client", name, role: "reader" }, now), name).toThrow("certify");
      expect(() => issueCertificate(ca, { kind: "server", name: "a", addresses: [name] }, now), name).toThrow(
        "certify",
      );
    }
  });

  it("reads exactly one role, and none out of a quoted name", () => {
    expect(roleOf("URI:aios:role:admin")).toBe("admin");
    expect(roleOf("DNS:aios, URI:aios:role:reader")).toBe("reader");
    expect(roleOf("URI:aios:role:admin, URI:aios:role:reader")).toBeUndefined();
    expect(roleOf('DNS:"x, URI:aios:role:admin, y"')).toBeUndefined();
    expect(roleOf("URI:aios:role:root")).toBeUndefined();
    expect(roleOf(undefined)).toBeUndefined();
    expect(allows("admin", "reader") && allows("reader", "reader")).toBe(true);
    expect(allows("reader", "operator") || allows("operator", "admin")).toBe(false);
  });
});

describe("der", () => {
  it("writes IPv6 addresses in all their forms", () => {
    expect(ipBytes("::").equals(Buffer.alloc(16))).toBe(true);
    expect(ipBytes("1:2:3:4:5:6:7:8").toString("hex")).toBe("00010002000300040005000600070008");
    expect(ipBytes("fe80::1").toString("hex")).toBe("fe800000000000000000000000000001");
    expect(ipBytes("1::").toString("hex")).toBe("00010000000000000000000000000000");
  });

  it("reads no length in a form that DER does not allow", () => {
    for (const hex of ["04", "0480", "048101ff", "04820001ff", "0483000001ff", "0403ffff"])
      expect(() => readValues(Buffer.from(hex, "hex")), hex).toThrow("DER");
  });
});
