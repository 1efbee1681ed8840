import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDatabase } from "#lib/data/sqlite";
import { functions, journalMigrations, longtermMigrations, workingMigrations } from "./migrations.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-migrations-");
});
afterEach(() => rmSync(folder, { recursive: true }));

const stores = { working: workingMigrations, journal: journalMigrations, longterm: longtermMigrations };

/** Rows as the first version of each store has them: they are there, as they were, after every migration. */
const rows: Readonly<Record<keyof typeof stores, string>> = {
  working: `INSERT INTO goals VALUES ('g', 'd', 'pending', 1, 5, 0, '', x'7b7d');
    INSERT INTO tasks VALUES ('t', 'g', 'd', 'system', 'pending', x'7b7d', x'', 0, 0, 0, '');
    INSERT INTO decisions VALUES ('d', 'c', x'', 'x', 'y', 'reactive', '', '', 7);
    INSERT INTO agent_states VALUES ('system', x'7b7d', 5);`,
  journal: `INSERT INTO sessions VALUES (1, 's', 'system', 5);
    INSERT INTO branches VALUES (1, 1, 'main', NULL, 0, 1, 5, 5);
    INSERT INTO journal VALUES (1, 1, 'e', '{}');`,
  longterm: `INSERT INTO procedures VALUES ('p', 'n', 'd', x'5b5d', 1, 0, 5, '[]', 5, 5);
    INSERT INTO incidents VALUES ('i', 'd', x'', 'r', 's', 'x', 'p', 5);`,
};

/** The schema without spaces, and all rows of the tables that the first version had. */
function lookAt(path: string, first: string) {
  const database = new Database(path, { readonly: true });
  const schema = database.prepare("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").all();
  const tables = [...first.matchAll(/CREATE TABLE (\w+)/g)].map(([, name]) => name ?? "");
  const content = tables.map((name) => [name, database.prepare(`SELECT * FROM ${name}`).all()]);
  const problems = [database.pragma("integrity_check", { simple: true }), database.pragma("foreign_key_check")];
  database.close();
  return { schema, content, problems };
}

describe.each(Object.keys(stores) as (keyof typeof stores)[])("the schema of %s", (name) => {
  const migrations = stores[name];
  const [first = ""] = migrations;

  it.each(migrations.map((_, at) => at + 1))("is the same from version %i on, and keeps what is there", (version) => {
    const old = join(folder, "old.db");
    const before = openDatabase(old, migrations.slice(0, 1), { functions });
    before.exec(rows[name]);
    before.close();
    openDatabase(old, migrations.slice(0, version), { functions }).close();
    openDatabase(old, migrations, { functions }).close();
    const fresh = join(folder, "fresh.db");
    const made = openDatabase(fresh, migrations, { functions });
    made.exec(rows[name]);
    made.close();
    const [migrated, expected] = [lookAt(old, first), lookAt(fresh, first)];
    expect(migrated.schema).toEqual(expected.schema);
    expect(migrated.content).toEqual(expected.content);
    expect(migrated.problems).toEqual(["ok", []]);
  });
});
