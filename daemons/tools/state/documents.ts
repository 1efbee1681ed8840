import type { State } from "./state.ts";

/** JSON by id that a namespace keeps over a restart: alerts, backups, spawned processes. One kind each. */
export interface Documents<T> {
  get(id: string): T | undefined;
  /** The newest first, at most `limit`. */
  list(limit: number): T[];
  /** Adds or replaces, durably. A replaced document keeps its place in the order. */
  put(id: string, value: T): Promise<void>;
  remove(id: string): Promise<void>;
  /** Removes the oldest beyond `most`. Returns what they were. */
  keep(most: number): Promise<T[]>;
}

export function openDocuments<T>({ database, commits }: State, kind: string): Documents<T> {
  const get = database.prepare<[string, string], { value: string }>(
    "SELECT value FROM document WHERE kind = ? AND id = ?",
  );
  const list = database.prepare<[string, number, number], { id: string; value: string }>(
    "SELECT id, value FROM document WHERE kind = ? ORDER BY sequence DESC LIMIT ? OFFSET ?",
  );
  const put = database.prepare(
    `INSERT INTO document (kind, id, value) VALUES (?, ?, ?)
     ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value`,
  );
  const remove = database.prepare("DELETE FROM document WHERE kind = ? AND id = ?");
  const read = ({ value }: { value: string }) => JSON.parse(value) as T;
  return {
    get: (id) => {
      const row = get.get(kind, id);
      return row && read(row);
    },
    list: (limit) => list.all(kind, limit, 0).map(read),
    put: async (id, value) => {
      await commits.add(() => put.run(kind, id, JSON.stringify(value)));
    },
    remove: async (id) => {
      await commits.add(() => remove.run(kind, id));
    },
    keep: (most) =>
      commits.add(() => {
        const old = list.all(kind, -1, most);
        for (const { id } of old) remove.run(kind, id);
        return old.map(read);
      }),
  };
}
