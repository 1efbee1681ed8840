import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

function tell(
  sequence: number,
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject } = own,
): void {
  const hash = "ab".repeat(32);
  const signature = sign(null, Buffer.from(`aios-ledger-head-1 ${sequence} ${hash}`), privateKey).toString("hex");
  const pem = publicKey.export({ type: "spki", format: "pem" });
  writeFileSync(`${folder}/told`, JSON.stringify({ sequence, hash, signature, publicKey: pem }));
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

it("does not believe a head signed by somebody else, or a file that is none", async () => {
  tell(9);
  await look();
  tell(99, other);
  await look();
  expect(logged).toEqual(["the ledger's head is not signed with its key"]);
  tell(10);
  await look();
  writeFileSync(`${folder}/told`, "{");
  await look();
  expect(kept()).toBe(10);
  expect(logged[1]).toBe("the ledger's head cannot be remembered");
});
