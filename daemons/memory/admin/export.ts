import { type Store, takePage } from "../store/index.ts";

/** One record as a line of JSON. */
interface Exported {
  readonly kind: string;
  readonly json: string;
}

/** A kind of exported record: rows of one table, page by page in the order of its key. */
interface Kind {
  readonly kind: string;
  readonly store: string;
  readonly columns: string;
  readonly from: string;
  readonly key: readonly string[];
  /** Milliseconds: how young a record is. */
  readonly time: string;
}

const plainKind = (kind: string, store: string, time: string, key = ["id"]): Kind => ({
  kind,
  store,
  columns: "*",
  from: kind,
  key,
  time,
});

const kinds: readonly Kind[] = [
  plainKind("goals", "working", "created_at"),
  // A task has no time of its own before it starts: it is as young as its goal.
  {
    ...plainKind("tasks", "working", "goals.created_at", ["tasks.id"]),
    columns: "tasks.*",
    from: "tasks JOIN goals ON goals.id = goal_id",
  },
  plainKind("tool_calls", "working", "timestamp"),
  plainKind("decisions", "longterm", "timestamp"),
  plainKind("patterns", "working", "last_used"),
  plainKind("agent_states", "working", "updated_at", ["agent_name"]),
  plainKind("events", "working", "timestamp"),
  plainKind("metrics", "working", "timestamp", ["key", "timestamp"]),
  plainKind("procedures", "longterm", "created_at"),
  plainKind("incidents", "longterm", "timestamp"),
  plainKind("config_changes", "longterm", "timestamp"),
  {
    ...plainKind("knowledge", "longterm", "stored_at"),
    columns: `id, title, metadata_json, stored_at, (SELECT group_concat(body, char(10, 10)) FROM
      (SELECT body FROM chunks WHERE collection = 'knowledge' AND chunks.id = records.id ORDER BY part)) AS content`,
    from: "records",
  },
  { ...plainKind("sessions", "journal", "created_at", ["number"]), columns: "session_id, agent_id, created_at" },
  {
    ...plainKind("journal", "journal", "branches.updated_at", ["journal.branch", "journal.sequence"]),
    columns: "session_id, branch_id, sequence, event_json",
    from: "journal JOIN branches ON branches.number = branch JOIN sessions ON sessions.number = session",
  },
];

export const kindNames: readonly string[] = kinds.map(({ kind }) => kind);

/** Records read at once; between two reads the calls have their turn. */
const rowsAtOnce = 200;

type Row = Record<string, unknown>;

/** Every record of the kinds asked for (none = all) that is at least as young as `since`. */
export function* exportRecords(
  stores: readonly Store[],
  wanted: readonly string[],
  since: number,
): Generator<Exported> {
  for (const kind of kinds) {
    if (wanted.length > 0 && !wanted.includes(kind.kind)) continue;
    const store = stores.find(({ name }) => name === kind.store);
    if (store !== undefined) yield* rowsOf(store, kind, since);
  }
}

function* rowsOf({ database }: Store, { kind, columns, from, key, time }: Kind, since: number): Generator<Exported> {
  const places = key.map((column, at) => `${column} AS place${at}`).join(", ");
  const only = kind === "knowledge" ? "collection = 'knowledge' AND " : "";
  const order = key.join(", ");
  const page = (after: string) =>
    `SELECT ${columns}, ${places} FROM ${from} WHERE ${only}${time} >= ? ${after} ORDER BY ${order} LIMIT ${rowsAtOnce}`;
  const first = database.prepare<unknown[], Row>(page(""));
  const next = database.prepare<unknown[], Row>(page(`AND (${order}) > (${key.map(() => "?").join(", ")})`));
  // A page is read to its end before its first row is given: an open statement would hold up the writes.
  for (let page = takePage(first.iterate(since)); page.records.length > 0; ) {
    for (const row of page.records) yield { kind, json: jsonOf(row) };
    const last = page.records.at(-1) as Row;
    page = takePage(next.iterate(since, ...key.map((_, at) => last[`place${at}`])));
  }
}

/** A row as a record in JSON: what is JSON in it is given as it is, under its name without "_json". */
function jsonOf(row: Row): string {
  const fields = Object.entries(row).filter(([name]) => !/^place\d$/.test(name));
  const members = fields.map(([name, value]) =>
    name.endsWith("_json")
      ? `${JSON.stringify(name.slice(0, -5))}:${textOf(value) || "null"}`
      : `${JSON.stringify(name)}:${JSON.stringify(value)}`,
  );
  return `{${members.join(",")}}`;
}

function textOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : String(value);
}
