import { AiosError } from "#lib/errors";
import { type Service, service } from "#lib/rpc/service";
import { EventJournalService, type JournalEvent } from "#proto/aios/journal";
import { refuse } from "../check.ts";
import { within } from "../limits.ts";
import { type BranchRow, mainBranch } from "./branches.ts";
import type { Entry, Ref } from "./entry.ts";
import { draftOf } from "./event-record.ts";
import type { Journal } from "./journal.ts";

/** Events of one call. */
const appendMax = 1_000;
const readDefault = 500;
const readMax = 10_000;

const idLengthMax = 128;

/** aios.memory.EventJournal: the kernel's event store. */
export function journalService(journal: Journal): Service<typeof EventJournalService> {
  return service(EventJournalService, {
    append: async ({ sessionId, branchId, eventsJson, expectedHead, noEvents }) => {
      const ref = refOf(sessionId, branchId);
      if (eventsJson.length === 0 || eventsJson.length > appendMax)
        refuse("events", "events_json", `${eventsJson.length} events, from 1 to ${appendMax} are taken`);
      const drafts = eventsJson.map((bytes) => draftOf(bytes, ref.sessionId, ref.branchId));
      if (new Set(drafts.map(({ eventId }) => eventId)).size < drafts.length)
        refuse("events", "events_json.event_id", "two of the events have the same");
      const entries = await journal.append(ref, drafts, expectedHead);
      return { head: journal.head(ref), events: noEvents ? [] : entries.map(messageOf) };
    },
    read: ({ sessionId, branchId, fromSequence, limit }) => {
      const ref = refOf(sessionId, branchId);
      const count = within("events", limit, readDefault, readMax);
      const events = journal.read(ref, place("from_sequence", fromSequence), count).map(messageOf);
      return { events, head: journal.head(ref) };
    },
    head: ({ sessionId, branchId }) => ({ head: journal.head(refOf(sessionId, branchId)) }),
    subscribe: async function* ({ sessionId, branchId, afterSequence }, { signal }) {
      const ref = refOf(sessionId, branchId);
      for await (const entry of journal.subscribe(ref, place("after_sequence", afterSequence), signal))
        yield messageOf(entry);
    },
    fork: async ({ sessionId, branchId, fromBranch, forkSequence }) => {
      if (branchId === "") refuse("branch", "branch_id", "it is empty");
      const ref = refOf(sessionId, branchId);
      return branchOf(await journal.fork(ref, fromBranch || mainBranch, forkSequence));
    },
    listSessions: ({ limit, cursor, agentId }) => {
      const { rows, nextCursor } = journal.lists.sessions(agentId, within("sessions", limit, 50, 500), cursor);
      return { sessions: rows, nextCursor };
    },
    listBranches: ({ sessionId, limit, cursor }) => {
      const { rows, nextCursor } = journal.lists.branches(sessionId, within("branches", limit, 50, 500), cursor);
      return { branches: rows.map(branchOf), nextCursor };
    },
  });
}

function refOf(sessionId: string, branchId: string): Ref {
  if (sessionId === "") refuse("event", "session_id", "it is empty");
  for (const [name, value] of Object.entries({ sessionId, branchId })) {
    const length = Buffer.byteLength(value);
    if (length > idLengthMax) refuse("event", name, `${length} bytes, at most ${idLengthMax}`);
  }
  return { sessionId, branchId: branchId || mainBranch };
}

function place(field: string, sequence: number): number {
  if (sequence >= 0) return sequence;
  throw new AiosError("INVALID_ARGUMENT", {
    act: "read events: read",
    object: field,
    reason: `${sequence} is negative`,
    next: "sequences begin with 1; send 0 for the beginning",
  });
}

function messageOf({ sequence, eventId, json }: Entry): JournalEvent {
  return { sequence, eventId, eventJson: Buffer.from(json) };
}

function branchOf({ branchId, parentBranch, forkSequence, head, createdAt, updatedAt }: BranchRow) {
  return { branchId, parentBranch, forkSequence, headSequence: head, createdAt, updatedAt };
}
