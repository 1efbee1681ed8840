import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { rememberHead } from "./witness.ts";

const own = generateKeyPairSync("ed25519");
const other = generateKeyPairSync("ed25519");
const clock = new ManualClock();
let folder: string;
let over: AbortController;
let logged: string[];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-witness-");
  over = new AbortController();
  logged = [];
  const log = { ...silentLog, error: (msg: string) => void logged.push(msg) };
  void rememberHead({ told: `${folder}/told`, kept: `${folder}/kept` }, clock, log, over.signal);
});

afterEach(() => {
  over.abort();
  rmSync(folder, { recursive: true });
});

const hashOf = (sequence: number, ledger = "a") => createHash("sha256").update(`${ledger} ${sequence}`).digest("hex");

/** Tells a head of a ledger, as the tools do: with the entry that it has where the kept head stands. */
function tell(
  sequence: number,
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject } = own,
  { ledger = "a", acknowledged = 0 } = {},
): void {
  const hash = hashOf(sequence, ledger);
  const at = seen();
  const after = { sequence: at, hash: hashOf(at, ledger) };
  const signature = sign(null, Buffer.from(`aios-ledger-head-1 ${sequence} ${hash}`), privateKey).toString("hex");
  const pem = publicKey.export({ type: "spki", format: "pem" });
  writeFileSync(`${folder}/told`, JSON.stringify({ sequence, hash, signature, publicKey: pem, after, acknowledged }));
}

/** The sequence of the kept head, as the tools read it: 0 where there is none. */
function seen(): number {
  try {
    return kept() ?? 0;
  } catch {
    return 0;
  }
}

const kept = () => JSON.parse(readFileSync(`${folder}/kept`, "utf8")).sequence;
const look = () => clock.advance(5_000);

it("keeps the furthest head it has seen", async () => {
  await look();
  expect(existsSync(`${folder}/kept`)).toBe(false);
  tell(5);
  await look();
  expect(kept()).toBe(5);
  tell(9);
  await look();
  expect(kept()).toBe(9);
  expect(logged).toEqual([]);
});

it("does not follow a ledger that goes back, and says so once", async () => {
  tell(9);
  await look();
  tell(5);
  await look();
  await look();
  expect(kept()).toBe(9);
  expect(logged).toEqual(["the ledger ended at entry 9 and now ends at entry 5: an older one was put back"]);
});

it("does not follow a ledger that was put back and has outgrown what was seen, whatever comes after", async () => {
  tell(9);
  await look();
  for (const sequence of [12, 20, 400]) {
    tell(sequence, own, { ledger: "older" });
    await look();
    expect(kept()).toBe(9);
  }
  expect(logged).toEqual(["entry 9 of the ledger is not the one that was seen: an older one was put back and went on"]);
  tell(10);
  await look();
  expect(kept()).toBe(10);
});

it("follows again, with another key too, once an admin has acknowledged the break", async () => {
  tell(9);
  await look();
  tell(20, other, { ledger: "b", acknowledged: 8 });
  await look();
  expect(kept()).toBe(9);
  tell(21, other, { ledger: "b", acknowledged: 21 });
  await look();
  expect(kept()).toBe(21);
  tell(22, own, { ledger: "b", acknowledged: 21 });
  await look();
  expect(kept()).toBe(21);
});

it("waits for the next head when one was told before the last was kept", async () => {
  tell(9);
  await look();
  tell(12);
  const early = readFileSync(`${folder}/told`);
  await look();
  tell(15);
  writeFileSync(
    `${folder}/told`,
    JSON.stringify({ ...JSON.parse(String(readFileSync(`${folder}/told`))), after: JSON.parse(String(early)).after }),
  );
  await look();
  expect(kept()).toBe(12);
  expect(logged).toEqual([]);
  tell(16);
  await look();
  expect(kept()).toBe(16);
});

it.each(["", "{", "null", "\u0000\u0001", "[]"])(
  "begins anew where what it has kept holds no head: %j",
  async (content) => {
    writeFileSync(`${folder}/kept`, content);
    tell(5, own);
    await look();
    expect(kept()).toBe(5);
    expect(logged).toEqual(["what was seen of the ledger cannot be read: it is watched from its present head on"]);
    expect(readdirSync(folder).some((name) => name.startsWith("kept.aside-"))).toBe(true);
  },
);

it("says that what it has kept is damaged before the ledger tells anything", async () => {
  writeFileSync(`${folder}/kept`, "");
  await look();
  expect(logged).toEqual(["what was seen of the ledger cannot be read: it is watched from its present head on"]);
});

it("does not believe a head signed by somebody else, or a file that is none", async () => {
  tell(9);
  await look();
  tell(99, other);
  await look();
  expect(logged).toEqual(["the ledger's head is signed with another key"]);
  tell(10);
  await look();
  writeFileSync(`${folder}/told`, "{");
  await look();
  expect(kept()).toBe(10);
  expect(logged[1]).toBe("the ledger's head cannot be remembered");
});
