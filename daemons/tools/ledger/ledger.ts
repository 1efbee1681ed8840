import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Identity } from "#lib/rpc/service";
import { type Commits, type Outside, openCommits } from "../state/index.ts";
import { type Audit, type AuditFilter, auditQuery } from "./audit.ts";
import { openChain } from "./chain.ts";
import { type Entry, type Note, noteOf } from "./entry.ts";
import { type Exported, exportFrom } from "./export.ts";
import { type Head, openSeal, type Seal, unsigned } from "./head.ts";
import { lossOf, openFile } from "./open.ts";
import { type Keep, pruneLedger } from "./prune.ts";
import { baseOf, dayOf, type Ended, nothing, type OpenSegment, opened, verifiedMark } from "./segment.ts";
import type { Table } from "./table.ts";
import { problemsMax, type Verification, verifyChain } from "./verify.ts";
import { openWitness, type Present, readHead, type WitnessFiles } from "./witness.ts";

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
  /**
   * Writes down that a person has taken note of all that is wrong: later verifications do not count it any more. Throws
   * FAILED_PRECONDITION when nothing is wrong. Returns what it was.
   */
  acknowledge(by: Identity, reason: string, signal: AbortSignal): Promise<readonly string[]>;
  /** The records beside the ledger are lost; written down, as verification tells it, unless there never were any. */
  stateLost(what: string): void;
  /** Deletes the oldest closed segments that are not kept any longer. Returns the entries that were deleted. */
  prune(keep: Keep, signal: AbortSignal): Promise<number>;
  /** The entries after one, as they are chained, for a copy elsewhere. */
  export(after: number, until: number): Exported;
  /** Executions that the last run of the daemon left between intent and outcome; closed as interrupted at start. */
  readonly interrupted: readonly string[];
  /** Commits what waits, and closes the file. */
  close(): void;
}

/** The ledger's means from outside. */
interface Given extends Outside {
  /** Why its key is out of reach; it is then signed by nobody, which verification tells. */
  readonly keyless?: string | undefined;
}

/**
 * Opens the ledger in `folder` (ledger.db, ledger.key), made when missing. What cannot be read is moved aside, and the chain goes on
 * behind the last head that is known, with an entry that says what was lost.
 */
export function openLedger(folder: string, clock: Clock, log: Log, files?: WitnessFiles, given: Given = {}): Ledger {
  const { keyless, ...outside } = given;
  const file = openFile(folder, clock);
  const { database, table } = file;
  const seen = files === undefined ? [] : [files.kept, files.told].flatMap((head) => readHead(head) ?? []);
  const known = seen.map(({ publicKey }) => publicKey);
  const seal = keyless === undefined ? openSeal(folder, clock, known) : unsigned;
  const loss = lossOf(file, seal, seen);
  const witness = files === undefined ? undefined : openWitness(files, presentOf(table, seal), clock, log);
  const audit = auditQuery(database);
  const { end: found, fault } =
    loss === undefined ? chainEnd(table, seal) : { end: endOf(loss.at), fault: loss.reason };
  const interrupted = table.openIntents();
  const faults = [
    keyless,
    fault,
    seal.lost && `the ledger's key could not be read: another one signs from here (${seal.lost})`,
  ];
  for (const reason of faults) if (reason !== undefined) log.error("the ledger is not what it was", { reason });
  /** What this start has to say: it goes before anything else, so that a new head cannot cover up what is wrong with the old one. */
  let first: readonly Note[] = [
    ...faults.flatMap((one) => (one ? [faultNote(one)] : [])),
    ...interrupted.map(interruption),
  ];
  const segment = loss === undefined ? openSegment(table) : opened(loss.at);
  const chain = openChain({ table, seal, clock }, { ...found, segment }, interrupted);
  let head: Head | undefined;
  const commits = openCommits(database, {
    ...outside,
    begin: () => {
      if (first.length > 0 && loss !== undefined && loss.at.last > 0) table.setBase(baseOf(loss.at, seal));
      first.forEach(chain.add);
    },
    end: () => {
      head = chain.sign();
    },
    synced: () => {
      // Not before: what the disk does not have, nobody has seen.
      if (head !== undefined) witness?.tell(head);
    },
    closing: () => witness?.close(),
    made: () => {
      first = [];
      chain.committed();
    },
    failed: chain.failed,
  });

  if (first.length > 0) atStart(commits, log);

  const check = (signal: AbortSignal, full: boolean) =>
    verifyChain(table, seal, signal, { full, witness: witness?.seen() });
  const append = (note: Note) => commits.add(() => chain.add(note));

  return {
    interrupted: interrupted.map(({ executionId }) => executionId),
    append,
    acknowledge: async (by, reason, signal) => {
      const { problems } = await check(signal, true);
      if (problems.length === 0)
        throw new AiosError("FAILED_PRECONDITION", "acknowledge the ledger: nothing in it is wrong");
      const output = JSON.stringify({ problems, all: problems.length === problemsMax });
      await append(noteOf({ kind: "acknowledged", callerKind: by.kind, caller: by.name, reason, output }));
      return problems;
    },
    stateLost: (what) => {
      // The very first start makes both.
      if (table.last() === undefined && base(table).last === 0) return;
      log.error("the tools' records are not what they were", { reason: what });
      append(faultNote(what)).catch((error) => log.error("a fault cannot be written down", { error }));
    },
    prune: (keep, signal) =>
      pruneLedger({ database, table, seal, commits, clock, log, append: chain.add, witness }, keep, signal),
    export: (after, until) => exportFrom(table, seal, after, until),
    ofExecution: (executionId) => table.ofExecution(executionId),
    audit,
    verify: async (signal, full = false) => {
      const closedBefore = table.segments();
      const verification = await check(signal, full);
      const fresh = closedBefore.filter(({ verified }) => verified === null);
      if (verification.valid && fresh.length > 0) {
        await commits.add(() => {
          for (const segment of fresh) table.setVerified(segment.number, verifiedMark(segment, seal));
        });
      }
      return verification;
    },
    close: () => commits.close(),
  };
}

function openSegment(table: Table): OpenSegment {
  const segment = opened(table.segments().at(-1) ?? base(table));
  const begins = table.after(segment.first - 1, 1)[0];
  return begins === undefined ? segment : { ...segment, day: dayOf(begins.at) };
}

/** The console's copy of facts beside the head. */
const presentOf = (table: Table, { publicKey }: Seal): Present => ({
  publicKey,
  hashAt: (sequence) => {
    const { last, hash } = base(table);
    return sequence === last ? hash : table.after(sequence - 1, 1).find((entry) => entry.sequence === sequence)?.hash;
  },
  acknowledged: () => table.acknowledged()[0]?.sequence ?? 0,
});

const base = (table: Table): Ended => table.base() ?? nothing;

const endOf = ({ last, hash }: Ended) => ({ sequence: last, hash });

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
    if (last === undefined) return { end: endOf(base(table)) };
    return { end: last, fault: `the signed head of ${last.sequence} entries was missing at start` };
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

const faultNote = (error: string) => noteOf({ kind: "fault", error });

function interruption({ executionId, callerKind, caller, onBehalfOf, tool, taskId }: Entry): Note {
  const error = "interrupted: the daemon ended between intent and outcome; it may have taken effect";
  const facts = { executionId, callerKind, caller, onBehalfOf, tool, taskId };
  return noteOf({ ...facts, kind: "interrupted", success: 0, error });
}
