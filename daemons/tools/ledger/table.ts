import type { Sqlite } from "#lib/sqlite";
import { type Entry, hashedFields } from "./entry.ts";
import type { Head } from "./head.ts";
import type { Segment } from "./segment.ts";

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
];

/** The ledger's tables as statements. `open_intent` only helps to find intents without an outcome at start. */
export interface Table {
  insert(entry: Entry): void;
  setHead(head: Head): void;
  head(): Head | undefined;
  last(): Entry | undefined;
  openIntents(): Entry[];
  /** At most `count` entries after `sequence`, in order. */
  after(sequence: number, count: number): Entry[];
  ofExecution(executionId: string): Entry[];
  /** Closed segments, in order. */
  segments(): Segment[];
  addSegment(segment: Segment): void;
  setVerified(number: number, mark: Buffer): void;
}

export function ledgerTable(database: Sqlite): Table {
  const columns = [...hashedFields, "hash"];
  const insert = database.prepare(`INSERT INTO entry (${columns}) VALUES (${columns.map((name) => `@${name}`)})`);
  const open = database.prepare("INSERT INTO open_intent VALUES (@sequence, @executionId)");
  const close = database.prepare("DELETE FROM open_intent WHERE executionId = ?");
  const setHead = database.prepare(
    "INSERT INTO head VALUES (1, @sequence, @hash, @signature) ON CONFLICT DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash, signature = excluded.signature",
  );
  const head = database.prepare<[], Head>("SELECT sequence, hash, signature FROM head");
  const last = database.prepare<[], Entry>("SELECT * FROM entry ORDER BY sequence DESC LIMIT 1");
  const openIntents = database.prepare<[], Entry>(
    "SELECT * FROM entry WHERE sequence IN (SELECT sequence FROM open_intent)",
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
  return {
    segments: () => segments.all(),
    addSegment: (segment) => void addSegment.run(segment),
    setVerified: (number, mark) => void setVerified.run(mark, number),
    insert: (entry) => {
      insert.run(entry);
      if (entry.kind === "intent") open.run(entry);
      if (entry.kind === "outcome") close.run(entry.executionId);
    },
    setHead: (next) => void setHead.run(next),
    head: () => head.get(),
    last: () => last.get(),
    openIntents: () => openIntents.all(),
    after: (sequence, count) => after.all(sequence, count),
    ofExecution: (executionId) => ofExecution.all(executionId),
  };
}
