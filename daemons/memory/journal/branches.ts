import type { Clock } from "#lib/clock";
import type { Sqlite } from "#lib/data/sqlite";
import { AiosError } from "#lib/errors";
import { type Page, pager } from "../store/index.ts";
import type { Ref } from "./entry.ts";

export interface BranchRow {
  readonly number: number;
  readonly branchId: string;
  /** Empty: it has none. */
  readonly parentBranch: string;
  readonly parent: number | null;
  readonly forkSequence: number;
  readonly head: number;
  readonly createdAt: number;
  readonly updatedAt: number;
}

interface SessionRow {
  readonly number: number;
  readonly sessionId: string;
  readonly agentId: string;
  readonly createdAt: number;
  readonly branches: number;
}

/** A branch's events from `from` to `to` are those of `branch`. */
interface Segment {
  readonly branch: number;
  readonly from: number;
  readonly to: number;
}

/** The branch that a session begins with. */
export const mainBranch = "main";

/** Forks of forks: a reader goes through all of them. */
const depthMax = 64;
const branchesMax = 1_000;

const branchSelect = `SELECT branches.number AS number, branches.branch_id AS branchId, branches.parent AS parent,
   coalesce(up.branch_id, '') AS parentBranch, branches.fork_sequence AS forkSequence, branches.head AS head,
   branches.created_at AS createdAt, branches.updated_at AS updatedAt
   FROM branches LEFT JOIN branches AS up ON up.number = branches.parent`;

/** Sessions and branches. What writes is called within a write of the store. */
export function openBranches(database: Sqlite, clock: Clock) {
  const inSession = "branches.session = (SELECT number FROM sessions WHERE session_id = ?)";
  const one = database.prepare<[string, string], BranchRow>(
    `${branchSelect} WHERE ${inSession} AND branches.branch_id = ?`,
  );
  const numbered = database.prepare<[number], BranchRow>(`${branchSelect} WHERE branches.number = ?`);
  const session = database.prepare<[string], number>("SELECT number FROM sessions WHERE session_id = ?").pluck();
  const count = database.prepare<[number], number>("SELECT count(*) FROM branches WHERE session = ?").pluck();
  const addSession = database.prepare("INSERT INTO sessions (session_id, agent_id, created_at) VALUES (?, ?, ?)");
  const addBranch = database.prepare(
    `INSERT INTO branches (session, branch_id, parent, fork_sequence, head, created_at, updated_at)
     VALUES (@session, @branchId, @parent, @forkSequence, @forkSequence, @now, @now)`,
  );
  const advance = database.prepare("UPDATE branches SET head = ?, updated_at = ? WHERE number = ?");

  const find = ({ sessionId, branchId }: Ref) => one.get(sessionId, branchId);
  const findOrFail = (ref: Ref) => find(ref) ?? missing(ref);
  const segments = (branch: BranchRow): Segment[] => {
    const parts: Segment[] = [];
    let to = branch.head;
    for (let at: BranchRow | undefined = branch; at !== undefined; ) {
      parts.unshift({ branch: at.number, from: at.forkSequence + 1, to });
      to = Math.min(to, at.forkSequence);
      at = at.parent === null ? undefined : numbered.get(at.parent);
    }
    return parts.filter((part) => part.from <= part.to);
  };

  return {
    find,
    segments,
    /** The branch to append to; a session and its "main" are made. NOT_FOUND for any other that is not there. */
    forAppend(ref: Ref, agentId: string): BranchRow {
      const branch = find(ref);
      if (branch !== undefined) return branch;
      if (ref.branchId !== mainBranch) return missing(ref);
      const now = clock.now();
      const number = session.get(ref.sessionId) ?? addSession.run(ref.sessionId, agentId, now).lastInsertRowid;
      addBranch.run({ session: number, branchId: mainBranch, parent: null, forkSequence: 0, now });
      return findOrFail(ref);
    },
    advance(number: number, head: number): void {
      advance.run(head, clock.now(), number);
    },
    /** NOT_FOUND without the parent, ALREADY_EXISTS, OUT_OF_RANGE past the parent's head. The same fork again is answered as it is. */
    fork(ref: Ref, fromBranch: string, forkSequence: number | undefined): BranchRow {
      const parent = findOrFail({ ...ref, branchId: fromBranch });
      const at = forkSequence ?? parent.head;
      const before = find(ref);
      if (before?.parent === parent.number && before.forkSequence === at) return before;
      if (before !== undefined)
        throw fault("ALREADY_EXISTS", ref, "there is a branch of this name", "choose another name");
      if (at < 0 || at > parent.head)
        throw fault(
          "OUT_OF_RANGE",
          ref,
          `${at} is not between 0 and ${fromBranch}'s head ${parent.head}`,
          "fork earlier",
        );
      const number = session.get(ref.sessionId) as number;
      if (segments(parent).length >= depthMax || (count.get(number) ?? 0) >= branchesMax)
        throw fault(
          "RESOURCE_EXHAUSTED",
          ref,
          `a session has at most ${branchesMax} branches, ${depthMax} deep`,
          "begin a session",
        );
      addBranch.run({
        session: number,
        branchId: ref.branchId,
        parent: parent.number,
        forkSequence: at,
        now: clock.now(),
      });
      return findOrFail(ref);
    },
    lists: openLists(database),
  };
}

function openLists(database: Sqlite) {
  const sessions = pager<SessionRow>(database, {
    select: `SELECT number, session_id AS sessionId, agent_id AS agentId, created_at AS createdAt,
       (SELECT count(*) FROM branches WHERE session = sessions.number) AS branches FROM sessions`,
    order: ["number"],
    descending: true,
  });
  const branches = pager<BranchRow>(database, { select: branchSelect, order: ["branches.number"], descending: false });
  const session = database.prepare<[string], number>("SELECT number FROM sessions WHERE session_id = ?").pluck();
  return {
    /** Newest first; those that an agent began, or (empty) all. */
    sessions: (agentId: string, limit: number, cursor: string): Page<SessionRow> =>
      sessions([["agent_id = ?", agentId]], limit, cursor),
    /** Oldest first. NOT_FOUND when there is no such session. */
    branches(sessionId: string, limit: number, cursor: string): Page<BranchRow> {
      const number = session.get(sessionId);
      if (number === undefined) return missing({ sessionId, branchId: mainBranch });
      return branches([["branches.session = ?", number]], limit, cursor);
    },
  };
}

function missing(ref: Ref): never {
  throw fault(
    "NOT_FOUND",
    ref,
    "it is not there",
    'a session begins with an event on "main", another branch with a fork',
  );
}

function fault(
  code: "NOT_FOUND" | "ALREADY_EXISTS" | "OUT_OF_RANGE" | "RESOURCE_EXHAUSTED",
  ref: Ref,
  reason: string,
  next: string,
) {
  const object = `session ${ref.sessionId} branch ${ref.branchId}`;
  return new AiosError(code, { act: "find", object, reason, next });
}
