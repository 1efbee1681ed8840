/**
 * Who answers. First rules: what a person says that a procedure covers is given as a goal (`goal.give`), what a goal
 * asks is asked, and the next words are its answer. Else the models, the cheapest of the session's level first; who
 * gives nothing usable is followed by the next. Where none can think the agent says so, and what helps.
 *
 * What a model is talked into stays small: it sees what tools gave as marked data, its calls are those of its agent's
 * namespaces, looking is free and changing is asked, and goals are made of the person's words, compared letter by
 * letter, never of a model's.
 */
import type { Standing } from "#kernel/branch";
import { type Kernel, mainBranch } from "#kernel/kernel";
import type { BranchState, SessionConfig } from "#kernel/state";
import { AiosError } from "#lib/errors";
import { type Role, roles } from "#lib/identity/role";
import { uuidv7 } from "#lib/ids";
import type { Client } from "#lib/rpc/service";
import type { EventJournalService } from "#proto/aios/journal";
import type { Durable } from "../durable.ts";
import { leastOf } from "../goal.ts";
import { fork, type Replayed, replay, rewind } from "./branching.ts";
import { type FollowParts, follow } from "./follow.ts";
import type { BranchRef, Happening } from "./happenings.ts";
import { firstOf, madeOf, type SessionView, viewOf } from "./view.ts";

/** A conversation that a person wants. */
export interface Wish {
  readonly agent: string;
  readonly level: string;
  readonly name: string;
  /** The person who opens it: "operator:alice". */
  readonly owner: string;
  readonly role: Role | "";
}

/** A person who says something. */
export interface Speaker {
  readonly name: string;
  readonly role: Role | "";
}

export interface SessionPage {
  readonly sessions: readonly Omit<SessionView, "branch" | "branches" | "head" | "turns" | "budget">[];
  readonly nextCursor: string;
}

/** Conversations. All but the first two throw NOT_FOUND for a session or branch that is not there. */
export interface Sessions {
  open(wish: Wish): Promise<SessionView>;
  list(limit: number, cursor: string): Promise<SessionPage>;
  view(at: BranchRef): Promise<SessionView>;
  /**
   * Says something, and gives what comes of it; the last is that the run is over, or goes on by itself later. Throws
   * PERMISSION_DENIED when the speaker's role is lesser than that of the conversation's owner: what is said is the owner's.
   */
  say(at: BranchRef, text: string, runId: string, by: Speaker, signal: AbortSignal): AsyncGenerator<Happening>;
  /** Gives what happened after an event, then, as `say`, what comes of the run that is open. */
  follow(at: BranchRef, after: number, signal: AbortSignal): AsyncGenerator<Happening>;
  interrupt(at: BranchRef, by: string): Promise<void>;
  /** Closes a session with all its branches. */
  close(id: string, by: string): Promise<void>;
  /** Makes a branch that has what `at` has up to an event (0 = its head); PERMISSION_DENIED as `say`. Empty name = a free one. */
  fork(at: BranchRef, sequence: number, name: string, by: Speaker): Promise<SessionView>;
  /** Puts what the agent has in mind back to the checkpoint of an event; PERMISSION_DENIED as `say`. */
  rewind(at: BranchRef, sequence: number, by: Speaker): Promise<SessionView>;
  /** Gives what happened up to an event (0 = the head), then the view as it was. */
  replay(at: BranchRef, sequence: number): AsyncGenerator<Replayed>;
  /** Ends all runs that are open. */
  halt(reason: string): Promise<void>;
  /** Takes up what an earlier run of the orchestrator left open. */
  resume(): Promise<void>;
}

interface SessionsParts extends FollowParts {
  readonly kernel: Kernel;
  /** All sessions of the journal, newest first. */
  readonly listed: Pick<Client<typeof EventJournalService>, "listSessions">;
  /** The sessions with a run that is open: they are gone on with after a restart. */
  readonly working: Durable<readonly string[]>;
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

const notFound = (act: string, object: string, next: string) =>
  new AiosError("NOT_FOUND", { act, object, reason: "there is none", next });

/** Keeps which sessions are to be gone on with after a restart: those with a turn that has not ended. */
function openCare({ kernel, working, log }: SessionsParts) {
  /** Turns that are waited for, in each session. */
  const underWay = new Map<string, number>();
  const begins = (id: string) => {
    if (!working.value.includes(id)) working.set([...working.value, id]);
  };
  /** A session at rest, on all its branches, needs no looking after. */
  const rests = async (id: string) => {
    const states = (await kernel.branches(id)).map((branch) => kernel.state(id, branch));
    const open = (await Promise.all(states)).some(({ run }) => run !== undefined);
    // Nothing may come between this look and what is stored.
    if (open || underWay.has(id) || !working.value.includes(id)) return;
    working.set(working.value.filter((other) => other !== id));
  };
  /** Waits for the end of a turn; the session is then at rest, unless another turn is not. */
  const lookAfter = async <T>(id: string, done: Promise<T>): Promise<T> => {
    underWay.set(id, (underWay.get(id) ?? 0) + 1);
    const standing = await done.finally(() => {
      const left = (underWay.get(id) ?? 1) - 1;
      if (left > 0) underWay.set(id, left);
      else underWay.delete(id);
    });
    // Else it is looked after once more at the next start.
    await rests(id).catch((error) => log.debug("a session is not known to rest", { id, error }));
    return standing;
  };
  return { begins, lookAfter };
}

export function openSessions(parts: SessionsParts): Sessions {
  const { kernel, journal, listed, working, clock, log } = parts;
  const { begins, lookAfter } = openCare(parts);
  const find = async ({ session, branch }: BranchRef): Promise<BranchState> => {
    const state = await kernel.state(session, branch);
    if (state.head > 0) return state;
    if (branch === mainBranch) throw notFound("find session", session, 'see "aiosctl chat list"');
    await find({ session, branch: mainBranch });
    throw notFound("find branch", `${branch} of session ${session}`, `see "aiosctl chat show ${session}"`);
  };
  /** The branch, for who may speak on it. */
  const findOwn = async (at: BranchRef, by: Speaker): Promise<BranchState> => {
    const state = await find(at);
    const role = roleIn(state.config);
    if (leastOf(role, by.role) !== role) throw lesser(at.session, role, by);
    return state;
  };
  const resume = async ({ session, branch }: BranchRef): Promise<Standing> => {
    const [only] = await kernel.resume(session, branch);
    return only?.standing ?? { status: "idle" };
  };

  return {
    async open(wish) {
      const id = uuidv7(clock.now());
      return await viewOf(parts, await parts.create(id, wish));
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
    view: async (at) => await viewOf(parts, await find(at)),
    async *say(at, text, runId, by, signal) {
      const { head } = await findOwn(at, by);
      const run = runId === "" ? {} : { runId };
      const begin = async () => {
        const { done } = await kernel.submit({ ...at, objective: text, actor: by.name, ...run });
        begins(at.session);
        return { done: lookAfter(at.session, done) };
      };
      yield* follow(parts, at, head, begin, signal);
    },
    async *follow(at, after, signal) {
      await find(at);
      yield* follow(parts, at, after, async () => ({ done: lookAfter(at.session, resume(at)) }), signal);
    },
    async interrupt(at, by) {
      await find(at);
      await kernel.cancel(at.session, at.branch, "interrupted", by);
    },
    async close(id, by) {
      await find({ session: id, branch: mainBranch });
      await kernel.closeSession(id, `closed by ${by}`);
    },
    fork: async (at, sequence, name, by) => await fork(parts, await findOwn(at, by), sequence, name),
    rewind: async (at, sequence, by) => await rewind(parts, await findOwn(at, by), sequence),
    async *replay(at, sequence) {
      await find(at);
      yield* replay(parts, at, sequence);
    },
    async halt(reason) {
      const cancel = async (id: string) => {
        for (const branch of await kernel.branches(id)) await kernel.cancel(id, branch, reason, "core");
      };
      await Promise.all(
        working.value.map((id) => cancel(id).catch((error) => log.warn("a session runs on", { id, error }))),
      );
    },
    async resume() {
      for (const id of working.value)
        lookAfter(id, kernel.resume(id)).catch((error) => log.warn("a session is not gone on with", { id, error }));
    },
  };
}
