import type { Standing } from "#kernel/branch";
import type { EventRecord } from "#kernel/events";
import type { Kernel, TickResult } from "#kernel/kernel";
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { openQueue } from "../queue.ts";
import { type BranchRef, type Happening, happeningIn } from "./happenings.ts";
import type { HeardJournal } from "./ports/index.ts";
import type { Waits } from "./waits.ts";

export interface FollowParts {
  readonly kernel: Pick<Kernel, "state">;
  readonly journal: Pick<HeardJournal, "read" | "listen">;
  readonly waits: Pick<Waits, "listen">;
  readonly clock: Clock;
  readonly log: Log;
}

/** A turn that has begun. */
export interface Begun {
  readonly done: Promise<Standing | TickResult>;
}

type Heard =
  | { readonly events: readonly EventRecord[] }
  | { readonly waits: Happening & { readonly what: "waits" } }
  | { readonly over: Happening; readonly head: number };

/** A journal that does not answer is asked again after this time. */
const againMs = 300;
/** Events that are read at once. */
const pageLength = 500;

/**
 * Happenings on a branch after an event, each once and in order, until what `begin` begins has ended: the last says how. The kernel
 * is heard as it writes; only what was written before, or not heard, is read from the journal. Throws what `begin` throws.
 */
export async function* follow(
  { kernel, journal, waits, clock, log }: FollowParts,
  { session, branch }: BranchRef,
  after: number,
  begin: () => Promise<Begun>,
  signal: AbortSignal,
): AsyncGenerator<Happening> {
  const queue = openQueue<Heard>();
  const unlisten = [
    journal.listen(session, branch, (events) => queue.put({ events })),
    waits.listen(session, (callId, approval) =>
      queue.put({ waits: { sequence: 0, at: clock.now(), what: "waits", callId, approval } }),
    ),
  ];
  let last = after;
  function* happenings(events: readonly EventRecord[]): Generator<Happening> {
    for (const event of events) {
      if (event.sequence <= last) continue;
      last = event.sequence;
      const happening = happeningIn(event);
      if (happening !== undefined) yield happening;
    }
  }
  /** Reads on up to an event, also from a journal that is away for a while. */
  async function* readUpTo(head: number): AsyncGenerator<Happening> {
    while (last < head && !signal.aborted) {
      const page = await journal.read(session, branch, last + 1, pageLength).catch((error: unknown) => {
        if (!passes(error)) throw error;
        log.debug("the journal is read again", { session, branch, reason: messageOf(error) });
      });
      if (page === undefined) await clock.sleep(againMs, signal).catch(() => {});
      else if (page.length === 0) return;
      else yield* happenings(page);
    }
  }
  try {
    const { head } = await kernel.state(session, branch);
    const { done } = await begin();
    done
      .then(async (standing) => ({ over: overOf(standing, clock), head: (await kernel.state(session, branch)).head }))
      .catch((error) => ({ over: overOf({ status: "stalled", runId: "", reason: messageOf(error) }, clock), head: 0 }))
      .then(queue.put);
    yield* readUpTo(head);
    for await (const heard of queue.taken(signal)) {
      if ("waits" in heard) {
        // Of a call that is over meanwhile there is nothing to decide.
        const { run } = await kernel.state(session, branch);
        if (run?.call?.call.call_id === heard.waits.callId) yield heard.waits;
      } else if ("events" in heard) {
        yield* readUpTo((heard.events[0]?.sequence ?? 0) - 1);
        yield* happenings(heard.events);
      } else {
        yield* readUpTo(heard.head);
        return yield heard.over;
      }
    }
  } finally {
    for (const end of unlisten) end();
  }
}

const passes = (error: unknown) =>
  error instanceof AiosError && (error.code === "UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED");

function overOf(standing: Standing | TickResult, clock: Clock): Happening {
  const moment = { sequence: 0, at: clock.now(), what: "over" } as const;
  if (standing.status === "idle") {
    const { last } = standing;
    return last === undefined
      ? { ...moment, runId: "", status: "finished", reason: "nothing was said", answer: "" }
      : overOf(last, clock);
  }
  const { runId, status } = standing;
  const reason = "reason" in standing ? standing.reason : "a person is asked";
  const answer = "answer" in standing ? (standing.answer ?? "") : "";
  return { ...moment, runId, status, reason, answer };
}
