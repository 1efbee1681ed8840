import type { Sqlite } from "#lib/data/sqlite";

/** Rows of a table that are counted: a count walks through them. */
const countedMax = 100_000;

interface TableSize {
  readonly name: string;
  readonly rows: number;
  /** There are more than were counted. */
  readonly more: boolean;
}

/** The tables of a database that hold records, and how many. */
export function tableSizes(database: Sqlite): TableSize[] {
  const names = database
    .prepare<[], string>(
      `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND sql NOT LIKE 'CREATE VIRTUAL%'
       AND name NOT GLOB '*_words_*' ORDER BY name`,
    )
    .pluck()
    .all();
  return names.map((name) => {
    const counted = database
      .prepare<[], number>(`SELECT count(*) FROM (SELECT 1 FROM "${name}" LIMIT ${countedMax + 1})`)
      .pluck()
      .get();
    const rows = counted ?? 0;
    return { name, rows: Math.min(rows, countedMax), more: rows > countedMax };
  });
}
