import { hash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import { connect, createServer } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { coreIdentity } from "#lib/rpc/service";
import { type Machine, startMachine } from "../../testing/harness.ts";
import type { AnyCall } from "../../tool.ts";
import { scanTool } from "./scan.ts";

let machine: Machine;
let work: string;

beforeAll(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(work);
});

afterAll(() => machine.close());

const call = (tool: string, input: object) => machine.core.call(tool, input);
const rollback = (executionId: string) => machine.core.raw.rollback({ executionId, reason: "a test" });
const undone = { success: true, error: "" };

function write(folder: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(`${folder}/${path}`), { recursive: true });
    writeFileSync(`${folder}/${path}`, text);
  }
}

describe("sec.scan", () => {
  it("looks at this machine", async () => {
    const { output } = await call("sec.scan", { checks: ["accounts", "listening", "processes", "preload", "kernel"] });
    expect(output.total).toBe(output.findings.length);
    expect(["none", "low", "medium", "high", "critical"]).toContain(output.risk_level);
  });

  it("takes only checks that there are", async () => {
    await expect(call("sec.scan", { checks: ["luck"] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("finds what was hidden in a machine of files, the worst first", async () => {
    const root = `${machine.folder}/root`;
    write(root, {
      "etc/passwd": "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/home/guest:/bin/sh\n",
      "etc/shadow": "root:!:1::::::\nguest::1::::::\n",
      "etc/ld.so.preload": "/tmp/evil.so\n",
      "usr/bin/passwd": "",
      "usr/bin/odd": "",
      "home/guest/sh": "",
      "etc/open": "",
      "tmp/fine": "",
      "proc/12/comm": "odd\n",
      "proc/13/comm": "gone\n",
      "proc/net/tcp": `  sl\n   0: 00000000:1F90 00000000:0000 0A 0:0 0:0 0 0 0 99 1\n   1: 0100007F:1F91 00000000:0000 0A 0:0 0:0 0 0 0 98 1\n`,
      "proc/sys/kernel/randomize_va_space": "0\n",
      "proc/sys/kernel/kptr_restrict": "1\n",
      "sys/devices/system/cpu/vulnerabilities/mds": "Vulnerable: no microcode\n",
      "sys/devices/system/cpu/vulnerabilities/l1tf": "Not affected\n",
    });
    chmodSync(`${root}/etc/shadow`, 0o644);
    for (const path of ["usr/bin/passwd", "usr/bin/odd", "home/guest/sh"]) chmodSync(`${root}/${path}`, 0o4755);
    for (const path of ["etc/open", "tmp/fine"]) chmodSync(`${root}/${path}`, 0o666);
    symlinkSync("/dev/shm/miner", `${root}/proc/12/exe`);
    symlinkSync("/usr/bin/sleep (deleted)", `${root}/proc/13/exe`);
    mkdirSync(`${root}/proc/12/fd`);
    symlinkSync("socket:[99]", `${root}/proc/12/fd/3`);
    const { signal } = new AbortController();
    const scan = scanTool({ proc: `${root}/proc`, sys: `${root}/sys` }, root);
    const given = { executionId: "e", caller: coreIdentity("orchestrator"), input: {}, resources: {}, signal };
    const { findings, risk_level } = (await scan.run(given as unknown as AnyCall)) as {
      findings: { check: string; severity: string; details: string }[];
      risk_level: string;
    };
    const told = findings.map(({ check, severity, details }) => `${severity} ${check}: ${details}`);
    expect(told.sort()).toEqual(
      [
        "critical accounts: guest",
        "critical accounts: toor",
        "critical preload: /tmp/evil.so",
        "high accounts: /etc/shadow",
        "high files: /etc/open",
        "high files: /home/guest/sh",
        "high kernel: kernel.randomize_va_space = 0, should be 2",
        "high processes: /dev/shm/miner (12)",
        "low kernel: Vulnerable: no microcode",
        "low listening: tcp 0.0.0.0 port 8080 by odd (12)",
        "medium files: /usr/bin/odd",
        "medium processes: /usr/bin/sleep (deleted) (13)",
      ].sort(),
    );
    expect(risk_level).toBe("critical");
    rmSync(root, { recursive: true });
  });
});

describe("sec.file_integrity", () => {
  const integrity = (mode: "baseline" | "check", path = `${work}/tree`) => call("sec.file_integrity", { mode, path });
  const same = { modified: [], new_files: [], missing_files: [], differences: 0 };

  it("finds what was changed, added, removed, or given another mode or target", async () => {
    write(`${work}/tree`, { a: "1", "sub/b": "2", c: "3", d: "4" });
    symlinkSync("a", `${work}/tree/link`);
    expect(await integrity("check")).toMatchObject({ success: false, error: expect.stringContaining("no baseline") });
    const taken = await integrity("baseline");
    expect(taken.output).toMatchObject({ checked: 7, ...same });
    await machine.restart();
    expect((await integrity("check")).output).toMatchObject({ ...same, baseline_at: taken.output.baseline_at });
    writeFileSync(`${work}/tree/sub/b`, "3");
    rmSync(`${work}/tree/c`);
    chmodSync(`${work}/tree/d`, 0o777);
    writeFileSync(`${work}/tree/sub/new`, "");
    rmSync(`${work}/tree/link`);
    symlinkSync("d", `${work}/tree/link`);
    expect((await integrity("check")).output).toMatchObject({
      modified: expect.arrayContaining(["d", "link", "sub/b"]),
      new_files: ["sub/new"],
      missing_files: ["c"],
      differences: 5,
    });
  });

  it("goes back to the baseline before, when one was taken by mistake", async () => {
    const mistaken = await integrity("baseline");
    expect((await integrity("check")).output).toMatchObject(same);
    expect(await rollback(mistaken.executionId)).toEqual(undone);
    expect((await integrity("check")).output).toMatchObject({ differences: 5 });
  });

  it("of a path without one before is gone again after a rollback", async () => {
    const taken = await integrity("baseline", `${work}/tree/a`);
    expect(taken.output).toMatchObject({ checked: 1 });
    expect(await rollback(taken.executionId)).toEqual(undone);
    expect(await integrity("check", `${work}/tree/a`)).toMatchObject({ success: false });
  });
});

describe("certificates", () => {
  const path = () => `${work}/tls/site.pem`;

  /** The certificate that a server with this file shows to a client that trusts the authority and asks for `host`. */
  async function shown(host: string, ca: string): Promise<string> {
    const pem = readFileSync(path());
    const server = createServer({ key: pem, cert: pem }, (socket) => socket.end()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const client = connect({ host: "127.0.0.1", port, ca, servername: /^[\d.]+$/.test(host) ? "" : host });
    try {
      await once(client, "secureConnect");
      expect(client.authorized).toBe(true);
      return hash("sha256", client.getPeerCertificate().raw);
    } finally {
      client.destroy();
      server.close();
    }
  }

  it("are none while the authority that signs them lies on a volume that cannot be read", async () => {
    const state = `${machine.folder}/run/machine-state.json`;
    writeFileSync(state, JSON.stringify({ data: "unreadable", clock: { sure: true } }));
    const made = await call("sec.cert_generate", { path: path(), name: "site.example" });
    expect(made).toMatchObject({ success: false, error: expect.stringMatching(/cannot be read.*boot menu/) });
    expect(existsSync(`${machine.folder}/state/ledger/services-ca.key`)).toBe(false);
    rmSync(state);
  });

  it("are made for a name and its addresses, serve TLS, and are taken back", async () => {
    const input = { path: path(), name: "site.example", addresses: ["127.0.0.1", "www.site.example"] };
    const made = await call("sec.cert_generate", input);
    expect(made).toMatchObject({ success: true, output: { name: "site.example", path: path() } });
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(await shown("site.example", made.output.ca)).toBe(made.output.fingerprint);
    expect(await shown("127.0.0.1", made.output.ca)).toBe(made.output.fingerprint);
    await expect(shown("other.example", made.output.ca)).rejects.toThrow("altnames");
    expect(new X509Certificate(readFileSync(path())).subjectAltName).toContain("DNS:www.site.example");
    await machine.restart();
    expect(await rollback(made.executionId)).toEqual(undone);
    expect(() => statSync(path())).toThrow("ENOENT");
  });

  it("are replaced by new ones for the same names, by the same authority, and back", async () => {
    const made = await call("sec.cert_generate", { path: path(), name: "site.example", addresses: ["127.0.0.1"] });
    const before = readFileSync(path(), "utf8");
    const rotated = await call("sec.cert_rotate", { path: path() });
    expect(rotated).toMatchObject({
      success: true,
      output: {
        name: "site.example",
        addresses: ["127.0.0.1"],
        previous_fingerprint: made.output.fingerprint,
        ca: made.output.ca,
      },
    });
    expect(rotated.output.fingerprint).not.toBe(made.output.fingerprint);
    expect(await shown("site.example", made.output.ca)).toBe(rotated.output.fingerprint);
    expect(await rollback(rotated.executionId)).toEqual(undone);
    expect(readFileSync(path(), "utf8")).toBe(before);
  });

  it.each([
    ["nothing of the kind", "it holds no certificate"],
    ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not by this machine's authority"],
  ])("that are %j are not replaced", async (content, reason) => {
    writeFileSync(`${work}/other.pem`, content);
    expect(await call("sec.cert_rotate", { path: `${work}/other.pem` })).toMatchObject({
      success: false,
      error: expect.stringContaining(reason),
    });
    expect(readFileSync(`${work}/other.pem`, "utf8")).toBe(content);
  });

  it("are for names that a certificate can carry", async () => {
    const odd = { path: path(), name: "site.example", addresses: ["a b"] };
    expect(await call("sec.cert_generate", odd)).toMatchObject({
      success: false,
      error: expect.stringContaining("certify"),
    });
  });
});
