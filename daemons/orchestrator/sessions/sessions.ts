import type { Standing } from "#kernel/branch";
import type { EventRecord } from "#kernel/events";
import { type Kernel, mainBranch, type TickResult } from "#kernel/kernel";
import type { BranchState, SessionConfig } from "#kernel/state";
import { AiosError } from "#lib/errors";
import { type Role, roles } from "#lib/identity/role";
import { uuidv7 } from "#lib/ids";
import type { Client } from "#lib/rpc/service";
import type { EventJournalService } from "#proto/aios/journal";
import type { Durable } from "../durable.ts";
import { leastOf } from "../goal.ts";
import { type FollowParts, follow } from "./follow.ts";
import type { Happening } from "./happenings.ts";

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

export interface SessionsParts extends FollowParts {
  readonly kernel: Kernel;
  /** All sessions of the journal, newest first. */
  readonly listed: Pick<Client<typeof EventJournalService>, "listSessions">;
  /** The sessions with a run that is open: they are gone on with after a restart. */
  readonly working: Durable<readonly string[]>;
  create(id: string, wish: Wish): Promise<BranchState>;
}

const onMain = (session: string) => ({ session, branch: mainBranch });

/** The role of the person who opened a session; empty when none did. */
export const roleIn = (config: SessionConfig | undefined): Role | "" => roles.find((one) => one === config?.role) ?? "";

const lesser = (id: string, role: string, by: Speaker) =>
  new AiosError("PERMISSION_DENIED", {
    act: "speak in session",
    object: id,
    reason: `it is a conversation of one who is ${role}, and ${by.name} is ${by.role}`,
    next: 'open one of your own: "aiosctl chat"',
  });

export function openSessions(parts: SessionsParts): Sessions {
  const { kernel, journal, listed, working, clock, log } = parts;
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
      const page = await listed.listSessions({ limit, cursor, agentId: "" });
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
      const begin = async () => {
        const { done } = await kernel.submit({ session: id, objective: text, actor, ...run });
        begins(id);
        return { done: settled(id, done) };
      };
      yield* follow(parts, onMain(id), head, begin, signal);
    },
    async *follow(id, after, signal) {
      await known(id);
      yield* follow(parts, onMain(id), after, async () => ({ done: settled(id, resume(id)) }), signal);
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

/** The first event of a session: what it was made with. */
async function firstOf(journal: SessionsParts["journal"], session: string): Promise<EventRecord | undefined> {
  const [first] = await journal.read(session, mainBranch, 1, 1);
  return first;
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
