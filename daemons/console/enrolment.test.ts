import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { connect as connectTls, type DetailedPeerCertificate } from "node:tls";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { createCsr } from "#lib/identity/certify";
import { parseCode, shortFingerprint } from "#lib/identity/enrolment-code";
import { fingerprint, readCertificate } from "#lib/identity/pki";
import { openLog } from "#lib/log";
import { service } from "#lib/rpc/service";
import { EnrollmentService } from "#proto/aios/console";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { openEnrolment, openForMs } from "./enrolment.ts";
import { inviteFirstAdmin } from "./invitation.ts";
import { openTwin, type Twin } from "./testing/twins.ts";

let folder: string;
let clock: ManualClock;
let lines: string[];
let twin: Twin;
let code: { secret: string; fingerprint: string } | undefined;
let trusted: string;
let keyboard: PassThrough;
let asked: string[];

/** A machine that nobody provisioned; booted again, it keeps its state and loses /run. */
async function boot(run = "run", dataUnreadable = false): Promise<void> {
  mkdirSync(`${folder}/state`, { recursive: true });
  mkdirSync(`${folder}/${run}`, { recursive: true });
  lines = [];
  const log = openLog("console", "info", (line) => lines.push(line));
  keyboard = new PassThrough();
  const settings = {
    ...{ state: `${folder}/state`, run: `${folder}/${run}`, machine: "aios", clock, log, dataUnreadable },
    typed: (word: string) => typedOn(keyboard, word),
    signal: new AbortController().signal,
  };
  twin = await openTwin({ ...(await inviteFirstAdmin(settings)), clock }, log);
  await twin.daemon("orchestrator", service(OrchestratorService, { listAgents: () => ({ agents: [] }) }));
  trusted = readFileSync(`${folder}/state/ca.pem`, "utf8");
  code = shownCode();
}

/** What the console asks init for: an answer each time that someone types the word. */
async function* typedOn(input: PassThrough, word: string) {
  asked.push(word);
  for await (const line of input.setEncoding("utf8")) if (line.trim() === word) yield {};
}

/** What init has printed for the console so far. */
const screen = (): string[] =>
  lines.map((line) => JSON.parse(line)).flatMap((line) => (line.console === true ? [line.msg] : []));
const shownCode = () => {
  const last = screen().findLast((line) => line.includes("aiosctl enroll"));
  return last === undefined ? undefined : parseCode(/enroll \S+ ([0-9A-Z-]+)"/.exec(last)?.[1] ?? "");
};

async function reboot(run?: string): Promise<void> {
  await twin.close();
  await boot(run);
}

const request = async (name: string) => (await createCsr(name)).csr;
const enrol = async (secret: string | undefined, csr?: Buffer) => {
  const csrDer = csr ?? (await request("alice"));
  return twin.client(EnrollmentService, undefined, trusted).enroll({ code: secret ?? "", csrDer });
};

/** Misses the code three times; gives it back. */
async function usedUp() {
  for (const _ of [1, 2, 3]) {
    await expect(enrol("0000000")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await clock.advance(4_000);
  }
  return code;
}

/** Someone at the machine asks for another code; gives back what is shown then. */
async function typeCode() {
  const before = screen().length;
  keyboard.write("code\n");
  await vi.waitFor(() => expect(screen().length).toBeGreaterThan(before));
  return shownCode();
}

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-enrol-");
  clock = new ManualClock(Date.now());
  asked = [];
  await boot();
});
afterEach(async () => {
  await twin.close();
  rmSync(folder, { recursive: true });
});

describe("enrolment", () => {
  it("gives the first admin a certificate that the machine takes from then on", async () => {
    const { csr, key } = await createCsr("alice");
    const { certificatePem, caPem, machine } = await enrol(code?.secret, csr);
    expect({ caPem, machine }).toEqual({ caPem: trusted, machine: "aios" });
    expect(readCertificate(certificatePem)).toMatchObject({ name: "alice", role: "admin" });
    const alice = { certificate: certificatePem, key };
    expect(await twin.client(OrchestratorService, alice, trusted).listAgents({})).toEqual({ agents: [] });
    await reboot();
    expect(await twin.client(OrchestratorService, alice, trusted).listAgents({})).toEqual({ agents: [] });
  });

  it("is closed for ever after that: to another at once, to all from the next boot on", async () => {
    await enrol(code?.secret);
    await expect(enrol(code?.secret)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("done once"),
    });
    await reboot("run2");
    expect(code).toBeUndefined();
    await expect(enrol("ABCDEFG")).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("takes one of two who know the code and come at once", async () => {
    const both = await Promise.all([createCsr("alice"), createCsr("bob")]);
    const answers = await Promise.allSettled(both.map(({ csr }) => enrol(code?.secret, csr)));
    const taken = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value.certificatePem] : []));
    expect(taken).toHaveLength(1);
    expect(answers.find(({ status }) => status === "rejected")).toMatchObject({
      reason: { code: "FAILED_PRECONDITION", message: expect.stringContaining("done once") },
    });
    const { name } = JSON.parse(readFileSync(`${folder}/state/enrolled.json`, "utf8"));
    expect(readCertificate(taken[0] ?? "").name).toBe(name);
  });

  it("answers the same key again, since an answer can be lost on its way", async () => {
    const csr = await request("alice");
    await enrol(code?.secret, csr);
    expect(readCertificate((await enrol(code?.secret, csr)).certificatePem).name).toBe("alice");
  });

  it("takes three tries from an address and no more, not even after the console was started again", async () => {
    await expect(enrol("0000000")).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("2 tries are left"),
    });
    const before = code;
    await reboot("run");
    expect(code).toEqual(before);
    await expect(enrol("")).rejects.toMatchObject({ message: expect.stringContaining("one try is left") });
    await clock.advance(2_000);
    await expect(enrol("0000000")).rejects.toMatchObject({ message: expect.stringContaining("or restart it") });
    await clock.advance(4_000);
    await expect(enrol(code?.secret)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("missed three times from 127.0.0.1"),
    });
    expect(existsSync(`${folder}/state/enrolled.json`)).toBe(false);
  });

  it("goes on with another code, for which someone asks at the machine's own keyboard", async () => {
    const old = await usedUp();
    expect(asked).toEqual(["code"]);
    const next = await typeCode();
    expect(next).not.toEqual(old);
    expect(next?.fingerprint).toBe(old?.fingerprint);
    await expect(enrol(old?.secret)).rejects.toMatchObject({ message: expect.stringContaining("2 tries are left") });
    await clock.advance(1_000);
    expect((await enrol(next?.secret)).machine).toBe("aios");
  });

  it("says on the machine's console why its code is not taken any more, once, whoever else misses it", async () => {
    await usedUp();
    const missed = "the code was missed three times from 127.0.0.1: type code and Enter at the machine's own console";
    const told = () => screen().filter((line) => line.startsWith("the code "));
    expect(told()).toEqual([expect.stringContaining(missed)]);
    const files = { enrolled: `${folder}/state/enrolled.json`, offer: `${folder}/run/enrolment.json` };
    const { tries, ...rest } = JSON.parse(readFileSync(files.offer, "utf8"));
    const reasons: string[] = [];
    writeFileSync(files.offer, JSON.stringify({ ...rest, tries: { ...tries, "192.0.2.1": 2, "192.0.2.2": 9_993 } }));
    const enrolment = openEnrolment(files, clock, (reason) => reasons.push(reason));
    const ask = (from: string) => enrolment.enrol("0000000", { name: "m", key: "k", from }, async () => "certificate");
    await expect(ask("192.0.2.1")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(reasons).toEqual([]);
    await expect(ask("192.0.2.3")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(ask("192.0.2.4")).rejects.toMatchObject({ message: expect.stringContaining("guessed at too often") });
    expect([reasons, enrolment.secret()]).toEqual([["the code was guessed at too often"], undefined]);
  });

  it("is opened again at the keyboard when its code is too old", async () => {
    await clock.advance(openForMs);
    expect(screen().at(-1)).toMatch(/^the code is too old: type code and Enter/);
    await expect(enrol(code?.secret)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const next = await typeCode();
    await clock.advance(openForMs - 1);
    expect((await enrol(next?.secret)).machine).toBe("aios");
  });

  it("is not opened again at the keyboard once there is an admin, and asks for nothing there after a boot", async () => {
    await enrol(code?.secret);
    keyboard.write("code\n");
    await vi.waitFor(() => expect(screen().at(-1)).toMatch("this machine has its admin"));
    await expect(enrol(code?.secret)).rejects.toThrow("done once");
    asked = [];
    await reboot("run2");
    expect(asked).toEqual([]);
  });

  it("says so where nobody can be heard at a keyboard", async () => {
    keyboard.destroy(new AiosError("FAILED_PRECONDITION", "read this machine's keyboard: there is none"));
    await vi.waitFor(() => expect(screen().at(-1)).toMatch("there is none: for another code, restart the machine"));
    expect((await enrol(code?.secret)).machine).toBe("aios");
  });

  it("is not closed to others by someone who guesses, and asks from many networks", async () => {
    const files = { enrolled: `${folder}/enrolled.json`, offer: `${folder}/boot.json` };
    const enrolment = openEnrolment(files, clock);
    const ask = (secret: string, from: string) =>
      enrolment.enrol(secret, { name: "m", key: "k", from }, async () => "certificate");
    for (let host = 1; host <= 100; host++) {
      for (const _ of [1, 2, 3]) {
        await expect(ask("0000000", `192.0.2.${host}`)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
        await clock.advance(10);
        await expect(ask("0000000", `192.0.2.${host}`)).rejects.toThrow(/in [1-4] s|missed three times/);
        await clock.advance(1_000 * 4);
        if (clock.monotonic() > openForMs / 2) return;
      }
    }
    expect(await ask(enrolment.secret() ?? "", "198.51.100.7")).toBe("certificate");
  });

  it("makes an address wait after a wrong answer, and spends no try meanwhile", async () => {
    await expect(enrol("0000000")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    for (let n = 0; n < 5; n++)
      await expect(enrol(code?.secret)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", retryAfterMs: 1_000 });
    await clock.advance(1_000);
    expect((await enrol(code?.secret)).machine).toBe("aios");
  });

  it("counts a wrong answer that cannot be written down", async () => {
    rmSync(`${folder}/run`, { recursive: true });
    for (const waitsMs of [1_000, 2_000]) {
      await expect(enrol("0000000")).rejects.toMatchObject({ code: "INTERNAL" });
      await expect(enrol("0000000")).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", retryAfterMs: waitsMs });
      await clock.advance(waitsMs);
    }
    await expect(enrol("0000000")).rejects.toMatchObject({ code: "INTERNAL" });
    await expect(enrol(code?.secret)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("is over after ten minutes, on the machine's own clock", async () => {
    const client = twin.client(EnrollmentService, undefined, trusted);
    await clock.advance(openForMs - 1);
    await expect(client.enroll({ code: "0000000", csrDer: await request("m") })).rejects.toThrow("wrong");
    await clock.advance(1);
    await expect(client.enroll({ code: code?.secret ?? "", csrDer: await request("m") })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("too old"),
    });
    await expect(enrol(code?.secret)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await reboot("run");
    expect(code).toBeUndefined();
  });

  it.each(["", "{", "null", "5", '{"secret":"x"}'])("of a boot whose file holds %j is another one", (content) => {
    const files = { enrolled: `${folder}/other.json`, offer: `${folder}/other-boot.json` };
    writeFileSync(files.offer, content);
    const secret = openEnrolment(files, clock).secret();
    expect(secret).toMatch(/^\S{6,}/);
    expect(openEnrolment(files, clock).secret()).toBe(secret);
  });

  it("spends no try on a request that is none", async () => {
    await expect(enrol(code?.secret, Buffer.from("no request"))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(enrol(code?.secret, Buffer.alloc(5000))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect((await enrol(code?.secret)).machine).toBe("aios");
  });

  it("is all that someone without a certificate can call", async () => {
    const goals = twin.client(OrchestratorService, undefined, trusted);
    await expect(goals.listAgents({})).rejects.toMatchObject({ code: "UNIMPLEMENTED" });
  });

  it("makes no authority while the one that the machine has lies on a volume that cannot be read", async () => {
    await twin.close();
    rmSync(`${folder}/state`, { recursive: true });
    await expect(boot("run-unreadable", true)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining('choose "repair the data volume" in the boot menu'),
    });
    expect(existsSync(`${folder}/state/ca.key`)).toBe(false);
    await boot("run-again");
  });

  it("shows the authority that the code names, and keeps its key to itself", async () => {
    const chain = await new Promise<DetailedPeerCertificate>((resolve) => {
      const options = { port: twin.console.port, rejectUnauthorized: false, ALPNProtocols: ["h2"] };
      const socket = connectTls(options, () => {
        resolve(socket.getPeerCertificate(true));
        socket.destroy();
      });
    });
    expect(shortFingerprint(fingerprint(chain.issuerCertificate.raw))).toBe(code?.fingerprint);
    expect(statSync(`${folder}/state/ca.key`).mode & 0o777).toBe(0o600);
    expect(statSync(`${folder}/run/enrolment.json`).mode & 0o777).toBe(0o600);
  });
});
