import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import { openDatabase } from "#lib/sqlite";
import { type Commits, openCommits } from "../commits.ts";
import { type Audit, type AuditFilter, auditQuery } from "./audit.ts";
import { type Entry, genesis, hashOf, type Note } from "./entry.ts";
import { type Head, openSeal, type Seal } from "./head.ts";
import { ledgerTable, migrations, type Table } from "./table.ts";
import { type Verification, verifyChain } from "./verify.ts";

export interface Ledger {
  /** Adds a note to the chain. Resolves when it is on disk; throws RESOURCE_EXHAUSTED when it cannot be written. */
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

/** Opens the ledger in `folder` (ledger.db, ledger.key), made when missing. */
export function openLedger(folder: string, clock: Clock, log: Log): Ledger {
  const database = openDatabase(`${folder}/ledger.db`, migrations);
  const table = ledgerTable(database);
  const seal = openSeal(folder);
  const audit = auditQuery(database);
  const { end: found, fault } = chainEnd(table, seal);
  const interrupted = table.openIntents();
  /** What this start has to say: it goes before anything else, so that a new head cannot cover up what is wrong with the old one. */
  let first: readonly Note[] = [...(fault === undefined ? [] : [faultNote(fault)]), ...interrupted.map(interruption)];
  /** The end of the chain as it is committed, and with the notes of the commit in progress. */
  let committed = found;
  let end = found;
  const commits = openCommits(database, {
    begin: () => first.forEach(add),
    end: () => table.setHead(seal.sign(end.sequence, end.hash)),
    made: () => {
      first = [];
      committed = end;
    },
    failed: () => {
      end = committed;
    },
  });

  function add(note: Note): Entry {
    const unsealed = { ...note, sequence: end.sequence + 1, at: clock.now(), previous: end.hash };
    const entry = { ...unsealed, hash: hashOf(unsealed) };
    table.insert(entry);
    end = entry;
    return entry;
  }

  if (first.length > 0) atStart(commits, log);

  return {
    interrupted: interrupted.map(({ executionId }) => executionId),
    append: (note) => commits.add(() => add(note)),
    ofExecution: (executionId) => table.ofExecution(executionId),
    audit,
    verify: (signal) => verifyChain(table, seal, signal),
    close: () => commits.close(),
  };
}

/** Writes what the start has to say. On a full disk it waits for the first call that can be recorded: until then there is none. */
function atStart(commits: Commits, log: Log): void {
  try {
    commits.now(() => {});
  } catch (error) {
    log.error("the ledger cannot be written: no call will be carried out", { error });
  }
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
