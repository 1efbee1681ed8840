import { type Capability, covers, parseCapability } from "#lib/capability";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { State } from "../state/index.ts";

/** Grants an agent may hold at once. */
const grantsMax = 256;

/** Grants that ended are kept this long for whoever asks, and for undoing a revocation. */
const keptMs = 7 * 86_400_000;

/**
 * What a person is asked about of what is done with a grant: nothing but what anybody's call asks about; what amounts to root in
 * any way; what changes something or leaves the machine; all.
 */
const askings = ["nothing", "root", "changes", "everything"] as const;
export type Asking = (typeof askings)[number];

export interface Grant {
  readonly agent: string;
  readonly capability: string;
  readonly reason: string;
  /** Empty when the grant is for no task. */
  readonly taskId: string;
  readonly asks: Asking;
  /** Milliseconds since the epoch, as `expiresAt`. */
  readonly grantedAt: number;
  readonly expiresAt: number;
}

interface Request {
  readonly executionId: string;
  readonly agent: string;
  readonly capabilities: readonly string[];
  readonly reason: string;
  readonly taskId: string;
  readonly asks: Asking;
  readonly durationMs: number;
}

/** Which grants to end: those of the agent, of one task or (empty) of any, for these capabilities or (undefined) all. */
interface Revocation {
  readonly executionId: string;
  readonly agent: string;
  readonly capabilities: readonly string[] | undefined;
  readonly taskId: string;
}

/** The grants in force: nothing else is allowed, and nothing whose time is over. SQLite is the record, memory the index. */
export interface Grants {
  /** Whether grants of `agent` that are in force cover `needed`. Those that ask a person are for calls of their own task. */
  permits(agent: string, needed: Capability, taskId: string): boolean;
  /** Whether any grant in force is for this namespace and action, whatever its resource. */
  knows(agent: string, needed: Capability, taskId: string): boolean;
  /** What a person is asked about of what `agent` does for this task. */
  asks(agent: string, taskId: string): Asking;
  held(agent: string): Grant[];
  /** Adds grants, durably. Returns when they end. */
  grant(request: Request): Promise<number>;
  /** Ends grants, durably. Returns how many. */
  revoke(revocation: Revocation): Promise<number>;
  /** Takes back what an execution granted. */
  undoGrant(executionId: string): Promise<void>;
  /** Puts back in force what an execution revoked, as far as its time is not over. */
  undoRevoke(executionId: string): Promise<void>;
}

interface Row extends Omit<Grant, "asks"> {
  readonly id: number;
  readonly executionId: string;
  /** The place in {@link askings}. */
  readonly asks: number;
}

interface Active extends Row {
  readonly parsed: Capability;
  /** On the monotonic clock: setting the clock back does not prolong a grant. */
  readonly endsAt: number;
}

export function openGrants({ database, commits }: State, clock: Clock): Grants {
  const insert = database.prepare<[Omit<Row, "id">], void>(
    `INSERT INTO capability_grant (executionId, agent, capability, reason, taskId, asks, grantedAt, expiresAt)
     VALUES (@executionId, @agent, @capability, @reason, @taskId, @asks, @grantedAt, @expiresAt)`,
  );
  const inForce = database.prepare<[number, number], Row>(
    "SELECT * FROM capability_grant WHERE revokedBy IS NULL AND grantedAt <= ? AND expiresAt > ?",
  );
  const revokedBy = database.prepare<[string], Row>("SELECT * FROM capability_grant WHERE revokedBy = ?");
  const setRevoked = database.prepare("UPDATE capability_grant SET revokedBy = ? WHERE id = ?");
  const clearRevoked = database.prepare("UPDATE capability_grant SET revokedBy = NULL WHERE revokedBy = ?");
  const forget = database.prepare("DELETE FROM capability_grant WHERE expiresAt < ?");

  let active: Active[] = [];
  const add = (row: Row) => {
    const leftMs = row.expiresAt - Math.max(clock.now(), row.grantedAt);
    active.push({ ...row, parsed: parseCapability(row.capability), endsAt: clock.monotonic() + leftMs });
  };
  const current = (agent: string) => {
    active = active.filter(({ endsAt }) => endsAt > clock.monotonic());
    return active.filter((grant) => grant.agent === agent);
  };
  const endAll = async (ending: readonly Active[], by: string): Promise<number> => {
    // First in memory: what is about to end permits nothing more.
    active = active.filter((grant) => !ending.includes(grant));
    await commits.add(() => {
      for (const { id } of ending) setRevoked.run(by, id);
    });
    return ending.length;
  };

  // Where that fails, for a full disk, the next start does it.
  commits.add(() => forget.run(clock.now() - keptMs)).catch(() => {});
  for (const row of inForce.all(clock.now(), clock.now())) add(row);

  return {
    permits: (agent, needed, taskId) =>
      current(agent).some((grant) => (grant.asks === 0 || grant.taskId === taskId) && covers(grant.parsed, needed)),
    knows: (agent, { namespace, action }, taskId) =>
      current(agent).some(
        ({ asks, taskId: own, parsed }) =>
          (asks === 0 || own === taskId) && parsed.namespace === namespace && parsed.action === action,
      ),
    asks: (agent, taskId) =>
      askingOf(Math.max(0, ...current(agent).map((grant) => (grant.taskId === taskId ? grant.asks : 0)))),
    held: (agent) =>
      current(agent).map(({ capability, reason, taskId, asks, grantedAt, expiresAt }) => ({
        agent,
        capability,
        reason,
        taskId,
        asks: askingOf(asks),
        grantedAt,
        expiresAt,
      })),
    grant: async ({ capabilities, durationMs, asks, ...request }) => {
      if (current(request.agent).length + capabilities.length > grantsMax) throw full(request.agent);
      const grantedAt = clock.now();
      const rows = capabilities.map((capability) => ({
        ...request,
        capability,
        asks: askings.indexOf(asks),
        grantedAt,
        expiresAt: grantedAt + durationMs,
      }));
      const ids = await commits.add(() => rows.map((row) => Number(insert.run(row).lastInsertRowid)));
      rows.forEach((row, at) => {
        add({ ...row, id: ids[at] ?? 0 });
      });
      return grantedAt + durationMs;
    },
    revoke: ({ executionId, agent, capabilities, taskId }) => {
      const ending = current(agent).filter(
        (grant) =>
          (taskId === "" || grant.taskId === taskId) &&
          (capabilities === undefined || capabilities.includes(grant.capability)),
      );
      return endAll(ending, executionId);
    },
    undoGrant: async (executionId) => {
      await endAll(
        active.filter((grant) => grant.executionId === executionId),
        executionId,
      );
    },
    undoRevoke: async (executionId) => {
      const back = revokedBy.all(executionId).filter(({ expiresAt }) => expiresAt > clock.now());
      await commits.add(() => clearRevoked.run(executionId));
      for (const row of back) add(row);
    },
  };
}

function full(agent: string): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "grant capabilities to",
    object: agent,
    reason: `it would hold more than ${grantsMax} at once`,
    next: "revoke those it no longer needs",
  });
}

const askingOf = (place: number): Asking => askings[place] ?? "everything";
