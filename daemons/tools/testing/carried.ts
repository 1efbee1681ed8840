import { appendFileSync, existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { openDatabase } from "#lib/data/sqlite";
import { migrations } from "../ledger/table.ts";

/** Where the check gathers which tools the tests have carried out; nothing is noted while it is not there. */
export const carriedFolder = resolve(import.meta.dirname, "../../../node_modules/.cache/aios-carried");

/** For tests: notes the tools that a daemon has carried out with success, by its ledger. The daemon has ended. */
export function noteCarried(stateFolder: string): void {
  const path = join(stateFolder, "ledger/ledger.db");
  if (!existsSync(carriedFolder) || !existsSync(path)) return;
  const database = openDatabase(path, migrations);
  try {
    const found = database
      .prepare<[], { tool: string }>("SELECT DISTINCT tool FROM entry WHERE kind = 'outcome' AND success = 1")
      .all();
    appendFileSync(join(carriedFolder, String(process.pid)), found.map(({ tool }) => `${tool}\n`).join(""));
  } finally {
    database.close();
  }
}
