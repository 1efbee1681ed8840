import type { Standing } from "#kernel/branch";
import { decodeEvent, type EventRecord } from "#kernel/events";
import { type Kernel, mainBranch, type TickResult } from "#kernel/kernel";
import type { BranchState, SessionConfig } from "#kernel/state";
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { type Role, roles } from "#lib/identity/role";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import type { Client } from "#lib/rpc/service";
import type { EventJournalService } from "#proto/aios/journal";
import type { Durable } from "../durable.ts";
import { leastOf } from "../goal.ts";
import { openQueue } from "../queue.ts";
import { type Happening, happeningIn } from "./happenings.ts";
import type { Waits } from "./waits.ts";

/** Who is to be spoken with, and by what at least. */
export interface Wish {
  readonly agent: string;
  readonly level: string;
  readonly name: string;
  /** Who opens it: "operator:alice". */
  readonly owner: string;
  readonly role: Role | "";
}

/** Who says something. */
export interface Speaker {
  readonly name: string;
  readonly role: Role | "";
}

export interface SessionView {
  readonly id: string;
  readonly name: string;
  readonly agent: string;
  readonly owner: string;
  readonly level: string;
  readonly createdAt: number;
  readonly state: "idle" | "working" | "closed";
  readonly head: number;
  readonly turns: BranchState["turns"];
  readonly budget: BranchState["budget"];
}

export interface SessionPage {
  readonly sessions: readonly Omit<SessionView, "turns" | "budget" | "head">[];
  readonly nextCursor: string;
}

export interface Sessions {
  open(wish: Wish): Promise<SessionView>;
  list(limit: number, cursor: string): Promise<SessionPage>;
  /** Throws NOT_FOUND. */
  view(id: string): Promise<SessionView>;
  /**
   * Says something; what comes of it, the last being that the run is over, or that it goes on by itself later. Throws
   * PERMISSION_DENIED to who has a lesser role than the person whose conversation it is: what is said is theirs.
   */
  say(id: string, text: string, runId: string, by: Speaker, signal: AbortSignal): AsyncGenerator<Happening>;
  /** What there is after an event, then as `say` of the run that is open. */
  follow(id: string, after: number, signal: AbortSignal): AsyncGenerator<Happening>;
  interrupt(id: string, by: string): Promise<void>;
  close(id: string, by: string): Promise<void>;
  /** Ends all runs that are open. */
  halt(reason: string): Promise<void>;
  /** Takes up what an earlier run of the orchestrator left open. */
  resume(): Promise<void>;
}

export interface SessionsParts {
  readonly kernel: Kernel;
  readonly journal: Pick<Client<typeof EventJournalService>, "subscribe" | "listSessions" | "read">;
  /** The sessions with a run that is open: they are gone on with after a restart. */
  readonly working: Durable<readonly string[]>;
  readonly waits: Waits;
  readonly clock: Clock;
  readonly log: Log;
  create(id: string, wish: Wish): Promise<BranchState>;
}

/** The role of the person who opened a session; empty when none did. */
export const roleIn = (config: SessionConfig | undefined): Role | "" => roles.find((one) => one === config?.role) ?? "";

const lesser = (id: string, role: string, by: Speaker) =>
  new AiosError("PERMISSION_DENIED", {
    act: "speak in session",
    object: id,
    reason: `it is a conversation of one who is ${role}, and ${by.name} is ${by.role}`,
    next: 'open one of your own: "aiosctl chat"',
  });

/** A journal that does not answer is asked again after this time. */
const againMs = 300;

export function openSessions(parts: SessionsParts): Sessions {
  const { kernel, journal, working, clock, log } = parts;
  const known = async (id: string) => {
    const state = await kernel.state(id);
    if (state.head > 0) return state;
    throw new AiosError("NOT_FOUND", {
      act: "find session",
      object: id,
      reason: "there is none",
      next: 'see "aiosctl chat list"',
    });
  };
  const begins = (id: string) => {
    if (!working.value.includes(id)) working.set([...working.value, id]);
  };
  const rests = (id: string) => {
    if (working.value.includes(id)) working.set(working.value.filter((other) => other !== id));
  };
  /** Where it comes to; a session at rest needs no looking after. */
  const settled = async (id: string, done: Promise<Standing | TickResult>) => {
    const standing = await done;
    if (standing.status !== "stalled" && standing.status !== "waiting") rests(id);
    return standing;
  };
  const resume = async (id: string): Promise<Standing> => {
    const standings = await kernel.resume(id);
    return standings.find(({ branch }) => branch === mainBranch)?.standing ?? { status: "idle" };
  };

  return {
    async open(wish) {
      const id = uuidv7(clock.now());
      return viewOf(await parts.create(id, wish), await firstOf(journal, id));
    },
    async list(limit, cursor) {
      const page = await journal.listSessions({ limit, cursor, agentId: "" });
      const firsts = await Promise.all(page.sessions.map(({ sessionId }) => firstOf(journal, sessionId)));
      const sessions = page.sessions.flatMap(({ sessionId: id, agentId: agent, createdAt }, at) => {
        const { name, owner, level } = madeOf(firsts[at]);
        const state = working.value.includes(id) ? ("working" as const) : ("idle" as const);
        return [{ id, name, agent, owner, level, createdAt, state }];
      });
      return { sessions, nextCursor: page.nextCursor };
    },
    view: async (id) => viewOf(await known(id), await firstOf(journal, id)),
    async *say(id, text, runId, by, signal) {
      const { head, config } = await known(id);
      const role = roleIn(config);
      if (leastOf(role, by.role) !== role) throw lesser(id, role, by);
      const actor = by.name;
      const run = runId === "" ? {} : { runId };
      const { done } = await kernel.submit({ session: id, objective: text, actor, ...run });
      begins(id);
      yield* told(parts, id, head, settled(id, done), signal);
    },
    async *follow(id, after, signal) {
      await known(id);
      yield* told(parts, id, after, settled(id, resume(id)), signal);
    },
    async interrupt(id, by) {
      await known(id);
      await kernel.cancel(id, mainBranch, "interrupted", by);
    },
    async close(id, by) {
      await known(id);
      await kernel.closeSession(id, `closed by ${by}`);
    },
    async halt(reason) {
      await Promise.all(
        working.value.map((id) =>
          kernel.cancel(id, mainBranch, reason, "core").catch((error) => log.warn("a session runs on", { id, error })),
        ),
      );
    },
    async resume() {
      for (const id of working.value)
        settled(id, resume(id)).catch((error) => log.warn("a session is not gone on with", { id, error }));
    },
  };
}

/** All that happens after an event, until `done` says that the turn has ended. */
async function* told(
  { kernel, journal, waits, clock, log }: SessionsParts,
  id: string,
  after: number,
  done: Promise<Standing | TickResult>,
  signal: AbortSignal,
): AsyncGenerator<Happening> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const queue = openQueue<EventRecord | Happening | { readonly head: number; readonly over: Happening }>();
  const reading = async () => {
    for (let last = after; !either.aborted; ) {
      try {
        const from = { sessionId: id, branchId: mainBranch, afterSequence: last };
        for await (const { eventJson, sequence } of journal.subscribe(from, { signal: either })) {
          last = sequence;
          queue.put(decodeEvent(Buffer.from(eventJson).toString("utf8")));
        }
      } catch (error) {
        if (!either.aborted) log.debug("the journal is read again", { id, reason: messageOf(error) });
      }
      await clock.sleep(againMs, either).catch(() => {});
    }
  };
  const unlisten = waits.listen(id, (callId, approval) =>
    queue.put({ sequence: 0, at: clock.now(), what: "waits", callId, approval }),
  );
  void reading();
  done.then(
    async (standing) => queue.put({ head: (await kernel.state(id)).head, over: overOf(standing, clock) }),
    (error) => queue.put({ head: 0, over: overOf({ status: "stalled", runId: "", reason: messageOf(error) }, clock) }),
  );
  try {
    let read = after;
    let end: { readonly head: number; readonly over: Happening } | undefined;
    for await (const item of queue.taken(signal)) {
      if ("over" in item) end = item;
      else if ("what" in item) {
        // Of one that is over meanwhile there is nothing to decide.
        const { run } = await kernel.state(id);
        if (item.what !== "waits" || run?.call?.call.call_id === item.callId) yield item;
      } else {
        read = item.sequence;
        const happening = happeningIn(item);
        if (happening !== undefined) yield happening;
      }
      if (end !== undefined && read >= end.head) return yield end.over;
    }
  } finally {
    stop.abort();
    unlisten();
  }
}

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

/** The first event of a session: what it was made with. */
async function firstOf(journal: SessionsParts["journal"], sessionId: string): Promise<EventRecord | undefined> {
  const { events } = await journal.read({ sessionId, branchId: mainBranch, fromSequence: 1, limit: 1 });
  const [first] = events;
  return first === undefined ? undefined : decodeEvent(Buffer.from(first.eventJson).toString("utf8"));
}

function madeOf(first: EventRecord | undefined): { name: string; owner: string; level: string; createdAt: number } {
  const kind = first?.kind.type === "SessionCreated" ? first.kind : undefined;
  const { owner = "", level = "" } = (kind?.config ?? {}) as { owner?: string; level?: string };
  return { name: kind?.name ?? "", owner, level, createdAt: first === undefined ? 0 : Date.parse(first.timestamp) };
}

function viewOf(state: BranchState, first: EventRecord | undefined): SessionView {
  const { sessionId: id, agentId: agent, head, turns, budget, closed, run } = state;
  const standing = closed !== undefined ? "closed" : run !== undefined ? "working" : "idle";
  return { id, agent, ...madeOf(first), state: standing, head, turns, budget };
}
