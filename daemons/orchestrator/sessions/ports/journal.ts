import { decodeEvent, type EventRecord, encodeEvent } from "#kernel/events";
import type { Journal } from "#kernel/ports";
import type { Client } from "#lib/rpc/service";
import type { EventJournalService } from "#proto/aios/journal";

/** Events of one call of aios-memory. */
const appendMax = 1_000;

/** The kernel's event store: the journal in aios-memory. */
export function journalOver(client: Client<typeof EventJournalService>): Journal {
  const append = async (events: readonly EventRecord[]): Promise<void> => {
    const [first] = events;
    if (first === undefined) return;
    const { session_id: sessionId, branch_id: branchId } = first;
    const eventsJson = events.map((event) => Buffer.from(encodeEvent(event)));
    await client.append({ sessionId, branchId, eventsJson, noEvents: true });
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
  };
}

const eventIn = ({ eventJson }: { eventJson: Uint8Array }) => decodeEvent(Buffer.from(eventJson).toString("utf8"));
