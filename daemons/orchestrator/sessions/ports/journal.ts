import { decodeEvent, type EventRecord, encodeEvent } from "#kernel/events";
import type { Journal } from "#kernel/ports";
import type { Client } from "#lib/rpc/service";
import type { EventJournalService } from "#proto/aios/journal";

/** Events of one call of aios-memory. */
const appendMax = 1_000;

/** The kernel's event store, which others can listen to. */
export interface HeardJournal extends Journal {
  /**
   * Calls `hear` with what is appended to a branch through this journal, once it is on disk. What was stored although its append
   * failed is not heard: whoever listens sees the gap in the sequences, and reads. Returns what ends it.
   */
  listen(session: string, branch: string, hear: Hear): () => void;
}

type Hear = (events: readonly EventRecord[]) => void;

/** The kernel's event store: the journal in aios-memory. */
export function journalOver(client: Client<typeof EventJournalService>): HeardJournal {
  const listeners = new Set<{ readonly session: string; readonly branch: string; readonly hear: Hear }>();
  const append = async (events: readonly EventRecord[]): Promise<void> => {
    const [first] = events;
    if (first === undefined) return;
    const { session_id: sessionId, branch_id: branchId } = first;
    const eventsJson = events.map((event) => Buffer.from(encodeEvent(event)));
    await client.append({ sessionId, branchId, eventsJson, noEvents: true });
    for (const { session, branch, hear } of listeners) if (session === sessionId && branch === branchId) hear(events);
  };
  return {
    // The kernel gives each event its sequence: it is stored as it was sent, or not at all.
    append: async (event) => {
      await append([event]);
      return event;
    },
    append_all: async (events) => {
      // More than one call only when it is more than the journal takes at once: nothing is half appended up to there.
      for (let index = 0; index < events.length; index += appendMax)
        await append(events.slice(index, index + appendMax));
    },
    read: async (sessionId, branchId, fromSequence, limit) =>
      (await client.read({ sessionId, branchId, fromSequence, limit })).events.map(eventIn),
    head: async (sessionId, branchId) => (await client.head({ sessionId, branchId })).head,
    subscribe: async function* (sessionId, branchId, afterSequence) {
      for await (const event of client.subscribe({ sessionId, branchId, afterSequence })) yield eventIn(event);
    },
    fork: async (sessionId, branchId, fromBranch, forkSequence) => {
      await client.fork({ sessionId, branchId, fromBranch, forkSequence });
    },
    listen: (session, branch, hear) => {
      const one = { session, branch, hear };
      listeners.add(one);
      return () => void listeners.delete(one);
    },
  };
}

const eventIn = ({ eventJson }: { eventJson: Uint8Array }) => decodeEvent(Buffer.from(eventJson).toString("utf8"));
