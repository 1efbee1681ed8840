import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import Database from "better-sqlite3";
import { register } from "#lib/data/sqlite";
import {
  type LongRecord,
  lexicalEmbedding,
  lexicalVector,
  openArchive,
  pack,
  shelfTables,
  textOf,
} from "../longterm/index.ts";
import { functions, longterm002, longterm003 } from "../store/migrations/index.ts";

interface Written {
  /** Names the content: the same records give the same name, and the same bytes. */
  readonly id: string;
  readonly records: number;
  readonly chunks: number;
}

/** Writes a shelf with these records to a file. Throws when two of them have one name. */
export function writeShelf(file: string, records: readonly LongRecord[]): Written {
  const names = new Set<string>();
  for (const { collection, id } of records) {
    const name = `${collection} ${id}`;
    if (names.has(name)) throw new Error(`two records of the knowledge are called ${name}`);
    names.add(name);
  }
  const database = new Database(":memory:");
  register(database, functions);
  database.exec(longterm002 + longterm003 + shelfTables);
  const archive = openArchive({ database, write: async (_what, act) => act() });
  database.transaction(() => {
    for (const record of records) archive.add(record);
  })();
  const chunks = archive.chunksAfter(0, Number.MAX_SAFE_INTEGER);
  const place = database.prepare("INSERT INTO vectors (key, scale, vector) VALUES (?, ?, ?)");
  for (const chunk of chunks) {
    const { bytes, scale } = pack(lexicalVector(textOf(chunk)));
    place.run(chunk.key, scale, bytes);
  }
  const id = createHash("sha256").update(JSON.stringify(records)).digest("hex").slice(0, 24);
  const about = database.prepare("INSERT INTO about (name, value) VALUES (?, ?)");
  about.run("id", id);
  about.run("embedding", lexicalEmbedding.id);
  database.prepare("INSERT INTO chunk_words (chunk_words) VALUES ('optimize')").run();
  rmSync(file, { force: true });
  database.prepare("VACUUM INTO ?").run(file);
  database.close();
  return { id, records: records.length, chunks: chunks.length };
}
