import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../clock.ts";
import { ensureOperatorIdentity, issueMachineCertificate, operatorFolder } from "./operator.ts";
import { readCertificate, validityMs } from "./pki.ts";

let root: string;
let folder: string;
const clock = () => new ManualClock(Date.UTC(2026, 10, 21));

beforeEach(() => {
  root = mkdtempSync("/tmp/aios-operator-");
  folder = join(root, "config", "aios");
});
afterEach(() => rmSync(root, { recursive: true }));

describe("operator", () => {
  it("makes an identity once, its keys closed to others", async () => {
    const first = await ensureOperatorIdentity(folder, clock());
    expect(readdirSync(folder).sort()).toEqual(["ca.key", "ca.pem", "operator.key", "operator.pem"]);
    expect(readdirSync(join(root, "config"))).toEqual(["aios"]);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const key of ["ca.key", "operator.key"]) expect(statSync(join(folder, key)).mode & 0o777).toBe(0o600);
    expect(readCertificate(first.client.certificate)).toMatchObject({ name: first.name, role: "admin" });
    expect(await ensureOperatorIdentity(folder, clock())).toEqual(first);
  });

  it("renews the certificate in time, from the same authority", async () => {
    const time = clock();
    const first = await ensureOperatorIdentity(folder, time);
    await time.advance(validityMs.client * 0.8);
    const second = await ensureOperatorIdentity(folder, time);
    expect(second.ca).toEqual(first.ca);
    expect(readCertificate(second.client.certificate).notAfter).toBeGreaterThan(time.now() + validityMs.client * 0.9);
  });

  it("gives a machine a certificate under its name and addresses", async () => {
    const machine = await issueMachineCertificate(folder, "aios", ["127.0.0.1", "10.77.0.2"], clock());
    const x509 = new X509Certificate(machine.certificate);
    expect(x509.checkHost("aios")).toBe("aios");
    expect(x509.checkIP("10.77.0.2")).toBe("10.77.0.2");
    expect(x509.verify(new X509Certificate(machine.ca).publicKey)).toBe(true);
    expect(machine.ca).toBe(readFileSync(join(folder, "ca.pem"), "utf8"));
  });

  it.each(["ca.key", "ca.pem", "operator.key"])("says so when %s is lost, and replaces no authority", async (file) => {
    await ensureOperatorIdentity(folder, clock());
    const ca = readFileSync(join(folder, "ca.pem"), "utf8");
    rmSync(join(folder, file));
    await expect(ensureOperatorIdentity(folder, clock())).rejects.toThrow(
      expect.objectContaining({ code: "FAILED_PRECONDITION", message: expect.stringContaining(file) }),
    );
    if (file !== "ca.pem") expect(readFileSync(join(folder, "ca.pem"), "utf8")).toBe(ca);
  });

  it("gives two programs that start at once the same identity", async () => {
    const program = `import { ensureOperatorIdentity } from ${JSON.stringify(new URL("./operator.ts", import.meta.url).href)};
      process.stdout.write((await ensureOperatorIdentity(${JSON.stringify(folder)})).ca.certificate);`;
    const command = `"${process.execPath}" --input-type=module -e '${program}'`;
    const out = execFileSync("sh", ["-c", `${command} > ${root}/a & ${command} > ${root}/b; wait`], { stdio: "pipe" });
    expect(out.length).toBe(0);
    const [a, b] = ["a", "b"].map((name) => readFileSync(join(root, name), "utf8"));
    expect(a).toMatch("BEGIN CERTIFICATE");
    expect(b).toBe(a);
  });

  it.each([
    ["that is not there", () => {}],
    ["without one", () => mkdirSync(folder, { recursive: true })],
  ])("gives everyone who asks at once the same identity, in a folder %s", async (_, prepare) => {
    prepare();
    const all = await Promise.all([1, 2, 3].map(() => ensureOperatorIdentity(folder, clock())));
    for (const each of all) expect(each).toEqual(all[0]);
    expect(readdirSync(join(root, "config"))).toEqual(["aios"]);
    const { ca, client } = await ensureOperatorIdentity(folder, clock());
    expect(new X509Certificate(client.certificate).verify(new X509Certificate(ca.certificate).publicKey)).toBe(true);
  });

  it("is kept where the environment says", () => {
    expect(operatorFolder({ AIOS_CONFIG_DIR: "/x" })).toBe("/x");
    expect(operatorFolder({ XDG_CONFIG_HOME: "/y" })).toBe("/y/aios");
    expect(operatorFolder({})).toMatch(/\/\.config\/aios$/);
  });
});
