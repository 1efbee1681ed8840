import type { Sqlite } from "#lib/data/sqlite";

/** A table as the records see it: its columns, the key first. A record's fields are the columns' names in camel case. */
export interface Table {
  readonly name: string;
  readonly columns: readonly [key: string, ...others: string[]];
}

/** A statement that adds a row or replaces the one with its key. */
export function upsert<R extends object>(database: Sqlite, { name, columns }: Table): (record: R) => void {
  const [key, ...others] = columns;
  const statement = database.prepare(
    `INSERT INTO ${name} (${columns.join(", ")}) VALUES (${columns.map((column) => `@${camel(column)}`).join(", ")})
     ON CONFLICT (${key}) DO UPDATE SET ${others.map((column) => `${column} = excluded.${column}`).join(", ")}`,
  );
  return (record) => {
    statement.run(Object.fromEntries(Object.entries(record).map(([field, value]) => [field, toSqlite(value)])));
  };
}

const toSqlite = (value: unknown) => (typeof value === "boolean" ? Number(value) : value);

/** "SELECT … FROM table": the columns under the fields' names. */
export function select({ name, columns }: Table): string {
  return `SELECT ${columns.map((column) => `${name}.${column} AS ${camel(column)}`).join(", ")} FROM ${name}`;
}

function camel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

export function quoteAll(texts: readonly string[]): string {
  return texts.map((text) => `'${text}'`).join(", ");
}
