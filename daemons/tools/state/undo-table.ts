import type { Sqlite } from "#lib/data/sqlite";
import type { Role } from "#lib/identity/role";

/** An undo plan as it is kept. */
export interface Prepared {
  readonly executionId: string;
  readonly tool: string;
  /** Capabilities that the call needed: an agent that rolls it back needs them still. */
  readonly needs: readonly string[];
  /** What the call held while it acted; its undo holds the same. */
  readonly locks: readonly string[];
  readonly plan: unknown;
  /** The least role of a person who may roll it back: that of the call. */
  readonly role: Role;
  /** "expired" when its backup had to make room. */
  readonly state: "ready" | "undone" | "expired";
  readonly preparedAt: number;
  /** Size of its backups. */
  readonly bytes: number;
}

/** The tables `undo` and `backup` as statements. */
interface UndoTable {
  insert(plan: Prepared, backups: ReadonlyMap<string, Buffer>): void;
  find(executionId: string): Prepared | undefined;
  /** The small backup of this name; undefined when there is none. */
  backup(executionId: string, name: string): Buffer | undefined;
  /** Marks a plan and gives up its small backups. */
  end(executionId: string, state: "undone" | "expired"): void;
  oldestWithBackup(): Prepared | undefined;
  totalBytes(): number;
  /** Removes the plans of before `at`, milliseconds since the epoch. Returns the executions they were of. */
  forgetBefore(at: number): string[];
}

type Row = Omit<Prepared, "needs" | "locks" | "plan"> & Readonly<Record<"needs" | "locks" | "plan", string>>;

export function undoTable(database: Sqlite): UndoTable {
  const insert = database.prepare<[Row], void>(
    "INSERT INTO undo VALUES (@executionId, @tool, @needs, @locks, @plan, @preparedAt, @bytes, @state, @role)",
  );
  const addBackup = database.prepare<[string, string, Buffer], void>("INSERT INTO backup VALUES (?, ?, ?)");
  const find = database.prepare<[string], Row>("SELECT * FROM undo WHERE executionId = ?");
  const backup = database.prepare<[string, string], { content: Buffer }>(
    "SELECT content FROM backup WHERE executionId = ? AND name = ?",
  );
  const setState = database.prepare("UPDATE undo SET state = ?, bytes = 0 WHERE executionId = ?");
  const dropBackups = database.prepare("DELETE FROM backup WHERE executionId = ?");
  const oldest = database.prepare<[], Row>("SELECT * FROM undo WHERE bytes > 0 ORDER BY preparedAt LIMIT 1");
  const total = database.prepare<[], { bytes: number }>("SELECT coalesce(sum(bytes), 0) AS bytes FROM undo");
  const before = database.prepare<[number], Row>("SELECT * FROM undo WHERE preparedAt < ?");
  const forget = database.prepare("DELETE FROM undo WHERE preparedAt < ?");
  return {
    insert: ({ needs, locks, plan, ...row }, backups) => {
      const texts = { needs: JSON.stringify(needs), locks: JSON.stringify(locks), plan: JSON.stringify(plan) };
      insert.run({ ...row, ...texts });
      for (const [name, content] of backups) addBackup.run(row.executionId, name, content);
    },
    find: (executionId) => read(find.get(executionId)),
    backup: (executionId, name) => backup.get(executionId, name)?.content,
    end: database.transaction((executionId: string, state: "undone" | "expired") => {
      setState.run(state, executionId);
      dropBackups.run(executionId);
    }),
    oldestWithBackup: () => read(oldest.get()),
    totalBytes: () => total.get()?.bytes ?? 0,
    forgetBefore: (at) => {
      const executions = before.all(at).map(({ executionId }) => executionId);
      forget.run(at);
      return executions;
    },
  };
}

function read(row: Row | undefined): Prepared | undefined {
  if (row === undefined) return undefined;
  return { ...row, needs: JSON.parse(row.needs), locks: JSON.parse(row.locks), plan: JSON.parse(row.plan) };
}
