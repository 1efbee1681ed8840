import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { openDatabase } from "#lib/sqlite";
import { type Audit, type AuditFilter, auditQuery } from "./audit.ts";
import { type Entry, genesis, hashOf, type Note } from "./entry.ts";
import { type Head, openSeal, type Seal } from "./head.ts";
import { ledgerTable, migrations, type Table } from "./table.ts";
import { type Verification, verifyChain } from "./verify.ts";

/** Notes that wait for a commit at most; more are refused, so that a full disk does not fill the memory too. */
const queueLengthMax = 4096;

export interface Ledger {
  /** Adds a note to the chain. Resolves when it is on disk; notes added in one turn of the event loop share a commit. */
  append(note: Note): Promise<Entry>;
  /** The entries of one execution, in order. */
  ofExecution(executionId: string): Entry[];
  audit(filter: AuditFilter): Audit;
  /** Checks every entry up to the present head, in batches that leave the event loop room. */
  verify(signal: AbortSignal): Promise<Verification>;
  /** Executions that the last run of the daemon left between intent and outcome; closed as interrupted at start. */
  readonly interrupted: readonly string[];
  /** Commits what waits, and closes the file. */
  close(): void;
}

interface Waiting {
  readonly note: Note;
  readonly resolve: (entry: Entry) => void;
  readonly reject: (error: unknown) => void;
}

/** Opens the ledger in `folder` (ledger.db, ledger.key), made when missing. */
export function openLedger(folder: string, clock: Clock): Ledger {
  const database = openDatabase(`${folder}/ledger.db`, migrations);
  const table = ledgerTable(database);
  const seal = openSeal(folder);
  const audit = auditQuery(database);
  const { end: found, fault } = chainEnd(table, seal);
  let end = found;
  let waiting: Waiting[] = [];

  const commit = database.transaction((notes: readonly Note[]): Entry[] => {
    let { sequence, hash } = end;
    const entries = notes.map((note) => {
      sequence += 1;
      const unsealed = { ...note, sequence, at: clock.now(), previous: hash };
      hash = hashOf(unsealed);
      const entry = { ...unsealed, hash };
      table.insert(entry);
      return entry;
    });
    table.setHead(seal.sign(sequence, hash));
    return entries;
  });

  const write = (notes: readonly Note[]): Entry[] => {
    const entries = commit(notes);
    end = entries.at(-1) ?? end;
    return entries;
  };

  const flush = () => {
    const batch = waiting;
    waiting = [];
    if (batch.length === 0) return;
    try {
      const entries = write(batch.map(({ note }) => note));
      entries.forEach((entry, at) => {
        batch[at]?.resolve(entry);
      });
    } catch (error) {
      for (const { reject } of batch) reject(unwritable(error));
    }
  };

  const atStart: Note[] = [
    ...(fault === undefined ? [] : [faultNote(fault)]),
    ...table.openIntents().map(interruption),
  ];
  if (atStart.length > 0) write(atStart);

  return {
    interrupted: atStart.filter(({ kind }) => kind === "outcome").map(({ executionId }) => executionId),
    append: (note) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= queueLengthMax) return reject(unwritable(`${queueLengthMax} entries wait already`));
        waiting.push({ note, resolve, reject });
        if (waiting.length === 1) setImmediate(flush);
      }),
    ofExecution: (executionId) => table.ofExecution(executionId),
    audit,
    verify: (signal) => verifyChain(table, seal, signal),
    close: () => {
      flush();
      database.close();
    },
  };
}

/** Where the chain goes on, and what is wrong with its end. The head was signed with the last commit, so the two agree unless someone meddled. */
function chainEnd(table: Table, seal: Seal): { end: Pick<Head, "sequence" | "hash">; fault?: string } {
  const last = table.last();
  const head = table.head();
  if (head === undefined) {
    const end = last ?? { sequence: 0, hash: genesis };
    return last === undefined
      ? { end }
      : { end, fault: `the signed head of ${last.sequence} entries was missing at start` };
  }
  if (!seal.fits(head)) return { end: later(head, last), fault: "the head's signature did not fit at start" };
  if (last?.sequence === head.sequence && last.hash.equals(head.hash)) return { end: head };
  const end = later(head, last);
  return {
    end,
    fault: `the head was signed at entry ${head.sequence}, the last entry at start was ${last?.sequence ?? 0}`,
  };
}

/** The chain goes on behind both, so that a tail that was cut off stays a visible gap. */
function later(head: Head, last: Entry | undefined): Pick<Head, "sequence" | "hash"> {
  return last !== undefined && last.sequence > head.sequence ? last : head;
}

const blank = {
  callerKind: "",
  caller: "",
  onBehalfOf: "",
  tool: "",
  taskId: "",
  reason: "",
  input: "",
  output: "",
} as const;

function faultNote(error: string): Note {
  return { ...blank, kind: "fault", executionId: "", success: null, error, durationMs: null };
}

function interruption({ executionId, callerKind, caller, onBehalfOf, tool, taskId }: Entry): Note {
  const error = "interrupted: the daemon ended between intent and outcome; it may have taken effect";
  const facts = { executionId, callerKind, caller, onBehalfOf, tool, taskId };
  return { ...blank, ...facts, kind: "outcome", success: 0, error, durationMs: null };
}

function unwritable(cause: unknown): AiosError {
  return new AiosError(
    "RESOURCE_EXHAUSTED",
    {
      act: "write",
      object: "the ledger",
      reason: messageOf(cause),
      next: "nothing runs unrecorded: free space on the data partition and call again",
    },
    { cause },
  );
}
