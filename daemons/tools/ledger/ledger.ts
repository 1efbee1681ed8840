import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import { openDatabase } from "#lib/sqlite";
import { type Commits, openCommits } from "../commits.ts";
import { type Audit, type AuditFilter, auditQuery } from "./audit.ts";
import { type Entry, genesis, hashOf, type Note, wellFormed } from "./entry.ts";
import { type Head, openSeal, type Seal } from "./head.ts";
import { closed, dayOf, type OpenSegment, opened, verifiedMark } from "./segment.ts";
import { ledgerTable, migrations, type Table } from "./table.ts";
import { type Verification, verifyChain } from "./verify.ts";
import { openWitness, type WitnessFiles } from "./witness.ts";

export interface Ledger {
  /** Adds a note to the chain. Resolves when it is on disk; throws RESOURCE_EXHAUSTED when it cannot be written. */
  append(note: Note): Promise<Entry>;
  /** The entries of one execution, in order. */
  ofExecution(executionId: string): Entry[];
  audit(filter: AuditFilter): Audit;
  /**
   * Checks the entries up to the present head, in batches that leave the event loop room. Closed segments that were checked
   * before are remembered, and not read again unless it is to be `full`.
   */
  verify(signal: AbortSignal, full?: boolean): Promise<Verification>;
  /** Executions that the last run of the daemon left between intent and outcome; closed as interrupted at start. */
  readonly interrupted: readonly string[];
  /** Commits what waits, and closes the file. */
  close(): void;
}

/** Opens the ledger in `folder` (ledger.db, ledger.key), made when missing. */
export function openLedger(folder: string, clock: Clock, log: Log, files?: WitnessFiles): Ledger {
  const database = openDatabase(`${folder}/ledger.db`, migrations);
  const table = ledgerTable(database);
  const seal = openSeal(folder);
  const witness = files === undefined ? undefined : openWitness(files, seal, clock, log);
  const audit = auditQuery(database);
  const { end: found, fault } = chainEnd(table, seal);
  const interrupted = table.openIntents();
  /** What this start has to say: it goes before anything else, so that a new head cannot cover up what is wrong with the old one. */
  let first: readonly Note[] = [...(fault === undefined ? [] : [faultNote(fault)]), ...interrupted.map(interruption)];
  /** The end of the chain as it is committed, and with the notes of the commit in progress. */
  let committed: End = { ...found, segment: openSegment(table) };
  let end = committed;
  let open = openOf(interrupted);
  let head: Head | undefined;
  const commits = openCommits(database, {
    begin: () => first.forEach(add),
    end: () => {
      head = seal.sign(end.sequence, end.hash);
      table.setHead(head, [...open.values()]);
    },
    made: () => {
      if (head !== undefined) witness?.tell(head);
      first = [];
      committed = end;
    },
    failed: () => {
      end = committed;
      open = openOf(table.openIntents());
    },
  });

  function add(note: Note): Entry {
    const unsealed = { ...wellFormed(note), sequence: end.sequence + 1, at: clock.now(), previous: end.hash };
    const entry = { ...unsealed, hash: hashOf(unsealed) };
    const segment = segmentOf(dayOf(entry.at));
    table.insert(entry);
    if (entry.kind === "intent") open.set(entry.executionId, entry.sequence);
    if (entry.kind === "outcome") open.delete(entry.executionId);
    end = { sequence: entry.sequence, hash: entry.hash, segment };
    return entry;
  }

  /** The segment that takes an entry of this day: the one before is closed when the day is a later one. */
  function segmentOf(day: string): OpenSegment {
    const { segment } = end;
    // A clock that was set back goes on in the segment that is open.
    if (segment.day !== undefined && day <= segment.day) return segment;
    if (segment.day === undefined) return { ...segment, day };
    const done = closed({ ...segment, day: segment.day }, end.sequence, end.hash, seal);
    table.addSegment(done);
    return { ...opened(done), day };
  }

  if (first.length > 0) atStart(commits, log);

  return {
    interrupted: interrupted.map(({ executionId }) => executionId),
    append: (note) => commits.add(() => add(note)),
    ofExecution: (executionId) => table.ofExecution(executionId),
    audit,
    verify: async (signal, full = false) => {
      const closedBefore = table.segments();
      const verification = await verifyChain(table, seal, signal, { full, witness: witness?.seen() });
      const fresh = closedBefore.filter(({ verified }) => verified === null);
      if (verification.valid && fresh.length > 0) {
        await commits.add(() => {
          for (const segment of fresh) table.setVerified(segment.number, verifiedMark(segment, seal));
        });
      }
      return verification;
    },
    close: () => {
      commits.close();
      witness?.close();
    },
  };
}

/** The end of the chain, and the segment it is in. */
interface End extends Pick<Head, "sequence" | "hash"> {
  readonly segment: OpenSegment;
}

/** The intents without an outcome: their sequences by execution. */
const openOf = (intents: readonly Entry[]) =>
  new Map(intents.map(({ executionId, sequence }) => [executionId, sequence]));

function openSegment(table: Table): OpenSegment {
  const segment = opened(table.segments().at(-1));
  const begins = table.after(segment.first - 1, 1)[0];
  return begins === undefined ? segment : { ...segment, day: dayOf(begins.at) };
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
