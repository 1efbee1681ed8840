import type { Sqlite } from "#lib/data/sqlite";
import { type Entry, hashedFields } from "./entry.ts";
import type { Head } from "./head.ts";
import type { Base, Segment } from "./segment.ts";

/** Migrations of ledger.db. */
export const migrations = [
  `CREATE TABLE entry (
     sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, executionId TEXT NOT NULL,
     callerKind TEXT NOT NULL, caller TEXT NOT NULL, onBehalfOf TEXT NOT NULL, tool TEXT NOT NULL, taskId TEXT NOT NULL,
     reason TEXT NOT NULL, input TEXT NOT NULL, output TEXT NOT NULL, success INTEGER, error TEXT NOT NULL,
     durationMs INTEGER, previous BLOB NOT NULL, hash BLOB NOT NULL
   ) STRICT;
   CREATE INDEX entry_execution ON entry (executionId);
   CREATE INDEX entry_caller ON entry (caller, at) WHERE kind IN ('intent', 'refusal');
   CREATE INDEX entry_tool ON entry (tool, at) WHERE kind IN ('intent', 'refusal');
   CREATE TABLE open_intent (sequence INTEGER PRIMARY KEY, executionId TEXT NOT NULL UNIQUE) STRICT;
   CREATE TABLE head (
     only INTEGER PRIMARY KEY CHECK (only = 1), sequence INTEGER NOT NULL, hash BLOB NOT NULL, signature BLOB NOT NULL
   ) STRICT;`,
  `CREATE TABLE segment (
     number INTEGER PRIMARY KEY, day TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, hash BLOB NOT NULL,
     previous BLOB NOT NULL, signature BLOB NOT NULL, verified BLOB
   ) STRICT;`,
  // The open intents stand beside the head, which each commit writes anyway: a table of their own cost four more pages a call.
  `ALTER TABLE head ADD COLUMN open TEXT NOT NULL DEFAULT '[]';
   UPDATE head SET open = (SELECT json_group_array(sequence) FROM open_intent);
   DROP TABLE open_intent;`,
  // Calls that wait for a person, and those that are counted, are found as the others are.
  `DROP INDEX entry_caller;
   DROP INDEX entry_tool;
   CREATE INDEX entry_caller ON entry (caller, at) WHERE kind IN ('asked', 'intent', 'refusal', 'repeats');
   CREATE INDEX entry_tool ON entry (tool, at) WHERE kind IN ('asked', 'intent', 'refusal', 'repeats');`,
  // Where the chain begins when its oldest entries are not there any more.
  `CREATE TABLE base (
     only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL, last INTEGER NOT NULL, hash BLOB NOT NULL,
     signature BLOB NOT NULL, mark BLOB NOT NULL
   ) STRICT;
   CREATE INDEX entry_acknowledged ON entry (sequence) WHERE kind = 'acknowledged';`,
  // Calls that were withdrawn are found as those that were refused.
  `DROP INDEX entry_caller;
   DROP INDEX entry_tool;
   CREATE INDEX entry_caller ON entry (caller, at) WHERE kind IN ('asked', 'intent', 'refusal', 'withdrawn', 'repeats');
   CREATE INDEX entry_tool ON entry (tool, at) WHERE kind IN ('asked', 'intent', 'refusal', 'withdrawn', 'repeats');`,
];

/** The ledger's tables as statements. */
export interface Table {
  insert(entry: Entry): void;
  /** Sets the head; `open` are the sequences of the intents that have no outcome yet, to be found at the next start. */
  setHead(head: Head, open: readonly number[]): void;
  head(): Head | undefined;
  last(): Entry | undefined;
  /** The intents without an outcome, as the head has it; without a head, as the entries have it. */
  openIntents(): Entry[];
  /** At most `count` entries after `sequence`, in order. */
  after(sequence: number, count: number): Entry[];
  ofExecution(executionId: string): Entry[];
  /** Closed segments, in order. */
  segments(): Segment[];
  addSegment(segment: Segment): void;
  setVerified(number: number, mark: Buffer): void;
  base(): Base | undefined;
  /** The chain begins here now: the segments up to it are gone, and their entries are deleted by {@link forget}. */
  setBase(base: Base): void;
  /** Deletes at most `count` of the entries that the base has left behind. Returns how many. */
  forget(count: number): number;
  /** What people have taken note of, the newest first. */
  acknowledged(): Entry[];
}

export function ledgerTable(database: Sqlite): Table {
  const columns = [...hashedFields, "hash"] as const;
  const insert = database.prepare(`INSERT INTO entry (${columns}) VALUES (${columns.map(() => "?")})`);
  const setHead = database.prepare(
    "INSERT OR REPLACE INTO head (only, sequence, hash, signature, open) VALUES (1, ?, ?, ?, ?)",
  );
  const head = database.prepare<[], Head>("SELECT sequence, hash, signature FROM head");
  const last = database.prepare<[], Entry>("SELECT * FROM entry ORDER BY sequence DESC LIMIT 1");
  const openIntents = database.prepare<[], Entry>(
    `SELECT * FROM entry WHERE sequence IN (SELECT value FROM head, json_each(iif(json_valid(open), open, '[]')))
     ORDER BY sequence`,
  );
  const openWithoutHead = database.prepare<[], Entry>(
    `SELECT * FROM entry AS intent WHERE kind = 'intent' AND NOT EXISTS (
       SELECT 1 FROM entry WHERE executionId = intent.executionId AND kind IN ('outcome', 'interrupted')) ORDER BY sequence`,
  );
  const after = database.prepare<[number, number], Entry>(
    "SELECT * FROM entry WHERE sequence > ? ORDER BY sequence LIMIT ?",
  );
  const ofExecution = database.prepare<[string], Entry>("SELECT * FROM entry WHERE executionId = ? ORDER BY sequence");
  const segments = database.prepare<[], Segment>("SELECT * FROM segment ORDER BY number");
  const addSegment = database.prepare(
    "INSERT INTO segment VALUES (@number, @day, @first, @last, @hash, @previous, @signature, @verified)",
  );
  const setVerified = database.prepare("UPDATE segment SET verified = ? WHERE number = ?");
  const base = database.prepare<[], Base>("SELECT number, last, hash, signature, mark FROM base");
  const setBase = database.prepare("INSERT OR REPLACE INTO base VALUES (1, @number, @last, @hash, @signature, @mark)");
  const dropSegments = database.prepare("DELETE FROM segment WHERE number <= ?");
  const forget = database.prepare(
    `DELETE FROM entry WHERE sequence IN (
       SELECT sequence FROM entry WHERE sequence <= (SELECT last FROM base) ORDER BY sequence LIMIT ?)`,
  );
  const acknowledged = database.prepare<[], Entry>(
    "SELECT * FROM entry WHERE kind = 'acknowledged' ORDER BY sequence DESC",
  );
  return {
    base: () => base.get(),
    setBase: (at) => {
      setBase.run(at);
      dropSegments.run(at.number);
    },
    forget: (count) => forget.run(count).changes,
    acknowledged: () => acknowledged.all(),
    segments: () => segments.all(),
    addSegment: (segment) => void addSegment.run(segment),
    setVerified: (number, mark) => void setVerified.run(mark, number),
    insert: (entry) => void insert.run(columns.map((name) => entry[name])),
    setHead: ({ sequence, hash, signature }, open) => void setHead.run(sequence, hash, signature, JSON.stringify(open)),
    head: () => head.get(),
    last: () => last.get(),
    openIntents: () => (head.get() === undefined ? openWithoutHead.all() : openIntents.all()),
    after: (sequence, count) => after.all(sequence, count),
    ofExecution: (executionId) => ofExecution.all(executionId),
  };
}
