import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Clock, ManualClock, systemClock } from "#lib/clock";
import { createCa, issueCertificate } from "#lib/identity/certify";
import { formatCode, parseCode } from "#lib/identity/enrolment-code";
import { readMachines, rememberMachine } from "#lib/identity/machines";
import { ensureOperatorIdentity, issueMachineCertificate } from "#lib/identity/operator";
import { ownFolder } from "#lib/rpc/sockets";
import { init, openTwin, orchestrator, type Twin, toolRoles, tools } from "./testing/twins.ts";

/** The console as it ships, run as a process, with twins of the daemons behind it. */
let twin: Twin;
let consoles: ChildProcess[];
let port: number;
let state: string;
let messages: string;

/** Consoles and programs are started as processes: on a busy host that takes a while. */
vi.setConfig({ testTimeout: 90_000 });

beforeEach(async () => {
  twin = openTwin();
  consoles = [];
  state = join(twin.run, "state");
  mkdirSync(join(state, "console"), { recursive: true });
  port = await freePort();
  await twin.daemon("init", init());
  await twin.daemon("orchestrator", orchestrator([]));
  await twin.daemon("tools", tools(), toolRoles());
  writeFileSync(join(twin.run, "config.json"), JSON.stringify({ network: { management_port: port } }));
});

afterEach(async () => {
  await Promise.all(consoles.map(stop));
  twin.close();
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port: free } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return free;
}

async function startConsole(): Promise<ChildProcess> {
  const main = new URL("../console/main.ts", import.meta.url).pathname;
  mkdirSync(ownFolder(twin.run, "console"), { recursive: true });
  const env = { ...process.env, AIOS_RUN_DIR: twin.run, AIOS_STATE_DIR: state, AIOS_LIB_DIR: twin.run };
  const child = spawn(process.execPath, [main], { env, stdio: ["ignore", "ignore", "pipe"] });
  consoles.push(child);
  messages = "";
  child.stderr?.on("data", (data) => {
    messages += data;
  });
  await expect.poll(() => messages, { timeout: 60_000 }).toMatch('"ready"');
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await new Promise((resolve) => child.once("exit", resolve));
}

/** A machine that the operator in the twin's folder has provisioned. */
async function provision(
  name = "aios",
  addresses = ["127.0.0.1", "localhost"],
  clock: Clock = systemClock,
): Promise<void> {
  const machine = await issueMachineCertificate(twin.folder, name, addresses, clock);
  const folder = join(twin.run, "provision");
  mkdirSync(folder);
  writeFileSync(join(folder, "ca.pem"), machine.ca);
  writeFileSync(join(folder, "machine.pem"), machine.certificate);
  writeFileSync(join(folder, "machine.key"), machine.key);
}

const shownCode = () => /aiosctl enroll \S+ ([0-9A-Z-]+)/.exec(messages)?.[1] ?? "";
const machine = (name = "aios") => ({ address: `127.0.0.1:${port}`, name, identity: "." });

describe("a provisioned machine", () => {
  it("is reached by its name, by an address or host name in its certificate, and as the default", async () => {
    await provision();
    await startConsole();
    expect(messages).not.toMatch("aiosctl enroll");
    rememberMachine(twin.folder, "lab", machine());
    for (const words of [[], ["--machine", "lab"], ["-m", `127.0.0.1:${port}`], ["-m", `localhost:${port}`]]) {
      const { code, out, error } = await twin.aiosctl("status", ...words);
      expect({ code, error }).toEqual({ code: 0, error: "" });
      expect(out).toMatch("degraded, version 0.1.0");
    }
    expect((await twin.aiosctlWith({ machine: "lab" }, "tools", "--json")).code).toBe(0);
    expect((await twin.aiosctl("machines")).out).toMatch(/lab \* +127\.0\.0\.1:\d+ +- +\S+ +admin/);
  });

  it("is not believed when it is another machine of the same operator", async () => {
    await provision("other");
    await startConsole();
    rememberMachine(twin.folder, "lab", machine());
    expect(await twin.aiosctl("status")).toMatchObject({
      code: 3,
      error: expect.stringContaining("is another machine"),
    });
  });

  it("is not believed when its authority is another", async () => {
    await provision();
    await startConsole();
    rmSync(twin.folder, { recursive: true });
    await ensureOperatorIdentity(twin.folder);
    rememberMachine(twin.folder, "lab", machine());
    expect(await twin.aiosctl("status")).toMatchObject({
      code: 3,
      error: expect.stringContaining("not by the authority known here"),
    });
  });

  it.each([
    ["has expired", Date.UTC(2020, 0, 1), /the certificate you show: it has expired: it was valid to 2021-/],
    [
      "is not valid yet",
      Date.now() + 30 * 86_400_000,
      /the certificate you show: it is valid from \S+ \S+ UTC on, and by this/,
    ],
  ])("refuses a certificate that %s, and that is told", async (_, madeAt, words) => {
    await provision();
    await startConsole();
    const { ca } = await ensureOperatorIdentity(twin.folder);
    const other = await issueCertificate(ca, { kind: "client", name: "late", role: "admin" }, madeAt);
    writeFileSync(join(twin.folder, "operator.pem"), other.certificate);
    writeFileSync(join(twin.folder, "operator.key"), other.key);
    rememberMachine(twin.folder, "lab", machine());
    expect(await twin.aiosctl("status")).toMatchObject({ code: 3, error: expect.stringMatching(words) });
  });

  it("is not believed when its certificate is not valid by the clock of who asks, and both clocks are named", async () => {
    await ensureOperatorIdentity(twin.folder);
    await provision("aios", undefined, new ManualClock(Date.now() + 30 * 86_400_000));
    await startConsole();
    rememberMachine(twin.folder, "lab", machine());
    expect(await twin.aiosctl("status")).toMatchObject({
      code: 3,
      error: expect.stringMatching(/certificate of the machine at \S+ is valid from .* set the clock that is wrong/),
    });
  });

  it("refuses a reader's goal with the role it takes", async () => {
    await provision();
    await startConsole();
    const { ca } = await ensureOperatorIdentity(twin.folder);
    const reader = await issueCertificate(ca, { kind: "client", name: "bob", role: "reader" }, systemClock.now());
    writeFileSync(join(twin.folder, "operator.pem"), reader.certificate);
    writeFileSync(join(twin.folder, "operator.key"), reader.key);
    rememberMachine(twin.folder, "lab", machine());
    expect((await twin.aiosctl("agents")).code).toBe(0);
    expect(await twin.aiosctl("goal", "submit", "x", "--json")).toMatchObject({
      code: 3,
      out: "",
      error: expect.stringContaining('"code":"PERMISSION_DENIED"'),
    });
  });

  it("that is off is told apart from one that refuses", async () => {
    await ensureOperatorIdentity(twin.folder);
    rememberMachine(twin.folder, "lab", machine());
    expect(await twin.aiosctl("agents")).toMatchObject({
      code: 3,
      error: expect.stringContaining("is the machine up?"),
    });
    expect(await twin.aiosctl("agents", "-m", "nowhere.invalid")).toMatchObject({ code: 3 });
  });

  it("is managed by name", async () => {
    await ensureOperatorIdentity(twin.folder);
    rememberMachine(twin.folder, "lab", machine());
    rememberMachine(twin.folder, "attic", machine());
    expect((await twin.aiosctl("machines", "use", "attic")).code).toBe(0);
    expect(readMachines(twin.folder).default).toBe("attic");
    expect((await twin.aiosctl("machines", "forget", "attic")).code).toBe(0);
    expect(readMachines(twin.folder)).toMatchObject({ machines: { lab: machine() } });
    expect(await twin.aiosctl("machines", "use", "cellar")).toMatchObject({ code: 2 });
  });
});

describe("a machine that nobody provisioned", () => {
  it("is enrolled with the code on its console, once, and is then reached by its name", async () => {
    const first = await startConsole();
    const line = ["enroll", `127.0.0.1:${port}`, shownCode().toLowerCase(), "--name", "lab", "--as", "alice"];
    const { code, out, error } = await twin.aiosctl(...line);
    expect({ code, error }).toEqual({ code: 0, error: "" });
    expect(out).toMatch("takes you as alice, admin");
    expect((await twin.aiosctl("status")).code).toBe(0);
    expect(readdirSync(join(twin.folder, "machines/lab")).sort()).toEqual(["ca.pem", "operator.key", "operator.pem"]);
    const again = [...line.slice(0, 3), "--name", "lab2"];
    expect(await twin.aiosctl(...again)).toMatchObject({ code: 1, error: expect.stringContaining("done once") });
    expect(await twin.aiosctl(...line)).toMatchObject({
      code: 2,
      error: expect.stringContaining("known here already"),
    });
    await stop(first);
    rmSync(join(ownFolder(twin.run, "console"), "enrolment.json"));
    await startConsole();
    expect(shownCode()).toBe("");
    expect(await twin.aiosctl(...again)).toMatchObject({ code: 3, error: expect.stringContaining("it has an admin") });
    expect((await twin.aiosctl("status")).code).toBe(0);
  });

  it("notices a slip before anything is sent, and takes three wrong codes", async () => {
    await startConsole();
    const right = parseCode(shownCode());
    if (right === undefined) throw new Error("no code");
    const host = `127.0.0.1:${port}`;
    const slip = shownCode().replace(/^./, (first) => (first === "A" ? "B" : "A"));
    if (parseCode(slip) === undefined) expect(await twin.aiosctl("enroll", host, slip)).toMatchObject({ code: 2 });
    const wrong = formatCode({ ...right, secret: right.secret === "AAAAAAA" ? "BBBBBBB" : "AAAAAAA" });
    const patiently = async (code: string) => {
      for (;;) {
        const answer = await twin.aiosctl("enroll", host, code);
        if (!answer.error.includes("just now")) return answer;
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    };
    for (const left of ["2 tries are left", "one try is left", "type code and Enter at the machine's own console"])
      expect(await patiently(wrong)).toMatchObject({ code: 3, error: expect.stringContaining(left) });
    expect(await patiently(shownCode())).toMatchObject({
      code: 1,
      error: expect.stringContaining("missed three times from 127.0.0.1; type code and Enter"),
    });
    expect(existsSync(join(twin.folder, "machines.toml"))).toBe(false);
  });

  it("sends nothing to a machine in between", async () => {
    await startConsole();
    const code = shownCode();
    const ca = await createCa("aios-ca", systemClock.now());
    const fake = await issueCertificate(ca, { kind: "server", name: "aios", addresses: [] }, systemClock.now());
    let received = 0;
    const between = createTlsServer(
      { key: fake.key, cert: fake.certificate + ca.certificate, ALPNProtocols: ["h2"] },
      (socket) => {
        socket.on("data", (data) => {
          received += data.length;
        });
        socket.on("error", () => {});
      },
    );
    await new Promise<void>((resolve) => between.listen(0, "127.0.0.1", resolve));
    try {
      const { port: other } = between.address() as AddressInfo;
      expect(await twin.aiosctl("enroll", `127.0.0.1:${other}`, code)).toMatchObject({
        code: 3,
        error: expect.stringContaining("nothing was sent"),
      });
      // The true authority's certificate shown beside a false one proves nothing.
      between.setSecureContext({
        key: fake.key,
        cert: fake.certificate + readFileSync(join(state, "console/ca.pem"), "utf8"),
      });
      expect(await twin.aiosctl("enroll", `127.0.0.1:${other}`, code)).toMatchObject({ code: 3 });
      expect(received).toBe(0);
    } finally {
      between.close();
    }
    expect((await twin.aiosctl("enroll", `127.0.0.1:${port}`, code)).code).toBe(0);
  });
});

describe("the program", () => {
  const main = new URL("./main.ts", import.meta.url).pathname;
  const aiosctl = (...argv: string[]) =>
    new Promise<{ code: number | null; out: string }>((resolve) => {
      const env = { ...process.env, AIOS_CONFIG_DIR: twin.folder, AIOS_RUN_DIR: twin.run, AIOS_MACHINE: "" };
      const child = spawn(process.execPath, [main, ...argv], { env, stdio: ["ignore", "pipe", "ignore"] });
      let out = "";
      child.stdout.on("data", (data) => {
        out += data;
      });
      child.on("close", (code) => resolve({ code, out }));
    });

  it("tells the shell what came of it, and uses the sockets on the machine itself", async () => {
    expect(await aiosctl("--help")).toMatchObject({ code: 0, out: expect.stringContaining("aiosctl") });
    expect(await aiosctl("frobnicate")).toEqual({ code: 2, out: "" });
    expect((await aiosctl("status")).out).toMatch("this machine: degraded");
  });
});
