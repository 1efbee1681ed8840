import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { type Entry, hashedFields, hashOf, type Note } from "./entry.ts";
import { openSeal } from "./head.ts";
import { type Ledger, openLedger } from "./ledger.ts";
import { ledgerTable } from "./table.ts";
import { verifyChain } from "./verify.ts";

const clock = new ManualClock();
const { signal } = new AbortController();

let folder: string;
let ledger: Ledger;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-ledger-");
  ledger = openLedger(folder, clock, silentLog);
});

afterEach(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

function note(kind: Note["kind"], executionId: string, more: Partial<Note> = {}): Note {
  const who = { callerKind: "agent", caller: "task", onBehalfOf: "", tool: "fs.write", taskId: "t" } as const;
  const what = { reason: "why", input: "{}", output: "", success: null, error: "", durationMs: null } as const;
  return { kind, executionId, ...who, ...what, ...more };
}

async function fill(count: number): Promise<void> {
  const notes = Array.from({ length: count }, (_, at) => note("intent", `e${at}`));
  await Promise.all(notes.map((one) => ledger.append(one)));
}

/** Meddles with the closed file, then opens it again, as an attacker with root would. */
function meddle(act: (database: Database.Database) => void): void {
  ledger.close();
  const database = new Database(`${folder}/ledger.db`);
  act(database);
  database.close();
  ledger = openLedger(folder, clock, silentLog);
}

/** Meddles with the closed file, and tells what verification finds in it as it stands. */
async function foundAfter(act: (database: Database.Database) => void): Promise<readonly string[]> {
  ledger.close();
  const database = new Database(`${folder}/ledger.db`);
  try {
    act(database);
    return (await verifyChain(ledgerTable(database), openSeal(folder, clock), signal)).problems;
  } finally {
    database.close();
    ledger = openLedger(folder, clock, silentLog);
  }
}

const sql =
  (text: string, ...values: unknown[]) =>
  (database: Database.Database) =>
    void database.prepare(text).run(...values);

/** Gives a ledger the shape it had when open intents were a table of their own. */
function asVersion2(database: Database.Database): void {
  database.exec(`CREATE TABLE open_intent (sequence INTEGER PRIMARY KEY, executionId TEXT NOT NULL UNIQUE) STRICT;
    INSERT INTO open_intent SELECT sequence, executionId FROM entry
      WHERE sequence IN (SELECT value FROM head, json_each(head.open));
    ALTER TABLE head DROP COLUMN open;
    DROP TABLE base;
    DROP INDEX entry_acknowledged;
    PRAGMA user_version = 2`);
}

const problems = async () => (await ledger.verify(signal)).problems;

describe("the ledger", () => {
  it("chains what it is given, in order, and keeps it", async () => {
    expect(await ledger.verify(signal)).toMatchObject({ valid: true, entries: 0, head: { sequence: 0 } });
    await fill(5);
    const last = await ledger.append(note("outcome", "e4", { success: 1, durationMs: 3 }));
    expect(last).toMatchObject({ sequence: 6, at: clock.now() });
    const head = { sequence: 6, hash: last.hash.toString("hex") };
    expect(await ledger.verify(signal)).toEqual({
      valid: true,
      entries: 6,
      remembered: 0,
      head,
      problems: [],
      acknowledged: [],
    });
    expect(ledger.ofExecution("e4").map(({ kind }) => kind)).toEqual(["intent", "outcome"]);
  });

  it("commits what comes in one turn together", async () => {
    const before = commits();
    await fill(500);
    expect(commits() - before).toBe(1);
    await ledger.append(note("outcome", "e1"));
    expect(commits() - before).toBe(2);
  });

  it("closes what the last run left open, once", async () => {
    await fill(3);
    await ledger.append(note("outcome", "e1", { success: 1 }));
    meddle(() => {});
    expect(ledger.interrupted).toEqual(["e0", "e2"]);
    expect(ledger.ofExecution("e0")[1]).toMatchObject({
      kind: "interrupted",
      success: 0,
      caller: "task",
      error: /^interrupted/,
    });
    meddle(() => {});
    expect(ledger.interrupted).toEqual([]);
    expect(await problems()).toEqual([]);
  });

  it.each([
    ["without its head", sql("DELETE FROM head")],
    ["that an older version wrote", asVersion2],
  ])("closes what was left open in a ledger %s", async (_, act) => {
    await fill(3);
    await ledger.append(note("outcome", "e1", { success: 1 }));
    meddle(act);
    expect(ledger.interrupted).toEqual(["e0", "e2"]);
    expect(ledger.ofExecution("e2").map(({ kind }) => kind)).toEqual(["intent", "interrupted"]);
  });

  it("still knows what is open after a commit that failed", async () => {
    await fill(2);
    const bad = note("intent", "x", { tool: null as unknown as string });
    await Promise.allSettled([ledger.append(note("outcome", "e0", { success: 1 })), ledger.append(bad)]);
    await ledger.append(note("refusal", "r"));
    meddle(() => {});
    expect(ledger.interrupted).toEqual(["e0", "e1"]);
  });

  it("refuses what cannot be written, and goes on where it was when it can", async () => {
    await fill(1);
    // A note that the table does not take stands for the disk that does not.
    const bad = note("intent", "x", { tool: null as unknown as string });
    const both = await Promise.allSettled([ledger.append(note("intent", "w")), ledger.append(bad)]);
    for (const one of both) expect(one).toMatchObject({ status: "rejected", reason: { code: "RESOURCE_EXHAUSTED" } });
    expect(await ledger.append(note("intent", "y"))).toMatchObject({ sequence: 2 });
    expect(await problems()).toEqual([]);
  });

  it("leaves others room while it is verified", async () => {
    await fillMore(3000, 0);
    await fillMore(3000, 1);
    let turns = 0;
    const count = () => {
      turns += 1;
      counting = setImmediate(count);
    };
    let counting = setImmediate(count);
    expect(await ledger.verify(signal)).toMatchObject({ valid: true, entries: 6000 });
    clearImmediate(counting);
    expect(turns).toBeGreaterThanOrEqual(6);
  });

  it("stops verifying when nobody waits for it any more", async () => {
    await fill(10);
    await expect(ledger.verify(AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
  });
});

/** Transactions in the write-ahead log: its frames that end one say how large the database is then. */
function commits(): number {
  const wal = readFileSync(`${folder}/ledger.db-wal`);
  const frameLength = 24 + wal.readUInt32BE(8);
  let count = 0;
  for (let at = 32; at < wal.length; at += frameLength) if (wal.readUInt32BE(at + 4) > 0) count += 1;
  return count;
}

async function fillMore(count: number, round: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, at) => ledger.append(note("refusal", `r${round}-${at}`))));
}

describe("tampering is found and located:", () => {
  beforeEach(() => fill(10));

  it.each(hashedFields.filter((field) => field !== "sequence"))("%s edited", async (field) => {
    const value = { at: 5, success: 1, durationMs: 9, previous: Buffer.alloc(32, 7) }[field as string] ?? "other";
    const found = await foundAfter(sql(`UPDATE entry SET ${field} = ? WHERE sequence = 4`, value));
    expect(found).toEqual(["entry 4 was edited"]);
  });

  it("an entry's number changed", async () => {
    const found = await foundAfter(sql("UPDATE entry SET sequence = 99 WHERE sequence = 4"));
    expect(found[0]).toBe("entry 4 was deleted");
    expect(found.join()).toContain("entry 99 was reordered: it was written as entry 4");
  });

  it("an entry edited and its hash made to fit", async () => {
    const found = await foundAfter((database) => {
      const entry = database.prepare("SELECT * FROM entry WHERE sequence = 4").get() as Entry;
      const hash = hashOf({ ...entry, caller: "other" });
      database.prepare("UPDATE entry SET caller = 'other', hash = ? WHERE sequence = 4").run(hash);
    });
    expect(found).toEqual(["entry 5 does not follow from entry 4: entry 4 was rewritten"]);
  });

  it.each([10, 3])("the chain rewritten from entry %i to its end", async (from) => {
    const found = await foundAfter((database) => {
      const update = database.prepare("UPDATE entry SET reason = ?, previous = ?, hash = ? WHERE sequence = ?");
      let previous = (database.prepare("SELECT hash FROM entry WHERE sequence = ?").get(from - 1) as Entry).hash;
      for (const entry of database.prepare("SELECT * FROM entry WHERE sequence >= ?").all(from) as Entry[]) {
        const hash = hashOf({ ...entry, reason: "better", previous });
        update.run("better", previous, hash, entry.sequence);
        previous = hash;
      }
    });
    expect(found).toEqual(["entry 10 is not the one that was signed: the chain was rewritten up to its end"]);
  });

  it("entries deleted, at the start, in the middle and at the end", async () => {
    expect(await foundAfter(sql("DELETE FROM entry WHERE sequence IN (1, 5, 6, 9, 10)"))).toEqual([
      "entry 1 was deleted",
      "entries 5 to 6 were deleted",
      "entries 9 to 10 were cut off from the end",
    ]);
  });

  it("two entries exchanged", async () => {
    const found = await foundAfter((database) => {
      for (const [from, to] of [
        [4, -1],
        [7, 4],
        [-1, 7],
      ]) {
        sql("UPDATE entry SET sequence = ? WHERE sequence = ?", to, from)(database);
      }
    });
    expect(found).toEqual([
      "entry 4 was reordered: it was written as entry 7",
      "entry 5 does not follow from entry 4: entry 4 was rewritten",
      "entry 7 was reordered: it was written as entry 4",
      "entry 8 does not follow from entry 7: entry 7 was rewritten",
    ]);
  });

  it("an entry added behind the head", async () => {
    const columns = hashedFields.filter((field) => field !== "sequence" && field !== "previous").join();
    const added = `INSERT INTO entry (sequence, ${columns}, previous, hash) SELECT 11, ${columns}, hash, hash FROM entry WHERE sequence = 10`;
    expect(await foundAfter(sql(added))).toContain("entry 11 was added behind the signed head");
  });

  it("a tail cut off before a restart, for ever", async () => {
    meddle((database) => database.exec("DELETE FROM entry WHERE sequence > 7"));
    await fillMore(3, 0);
    meddle(() => {});
    const found = await problems();
    expect(found).toContain("entries 8 to 10 were deleted");
    expect(found.join()).toContain("records a fault: the head was signed at entry 10, the last entry at start was 7");
  });

  it("a head or key exchanged before a restart, for ever", async () => {
    meddle((database) => database.exec("DELETE FROM head"));
    expect((await problems()).join()).toContain("the signed head of 10 entries was missing at start");
    meddle((database) => database.exec("UPDATE head SET signature = zeroblob(64)"));
    rmSync(`${folder}/ledger.key`, { force: true });
    meddle(() => {});
    const found = (await problems()).join("\n");
    expect(found).toContain("signature did not fit at start");
    expect(found).toContain("the ledger's key could not be read: another one signs from here (its file was missing)");
  });
});

describe("a ledger whose key is out of reach", () => {
  const why = "sign the ledger of this boot: the volume cannot be read";

  it("is kept, signed by nobody, says so, and makes no key", async () => {
    const other = mkdtempSync("/tmp/aios-keyless-");
    let kept = openLedger(other, clock, silentLog, undefined, { keyless: why });
    await kept.append(note("intent", "e0"));
    kept.close();
    kept = openLedger(other, clock, silentLog, undefined, { keyless: why });
    await kept.append(note("outcome", "e0"));
    const { problems } = await kept.verify(signal, true);
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) expect(problem).toContain(why);
    expect(readdirSync(other).filter((name) => /key|pub/.test(name))).toEqual([]);
    kept.close();
    rmSync(other, { recursive: true });
  });

  it("is none that a machine with its key takes for signed", async () => {
    ledger.close();
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    const keyless = openLedger(folder, clock, silentLog, undefined, { keyless: why });
    await keyless.append(note("intent", "e0"));
    keyless.close();
    ledger = openLedger(folder, clock, silentLog);
    await ledger.append(note("intent", "e1"));
    const { problems } = await ledger.verify(signal, true);
    expect(problems.join("; ")).toMatch(/signature/);
  });
});
