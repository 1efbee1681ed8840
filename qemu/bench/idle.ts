import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import Database from "better-sqlite3";
import { AiosError } from "#lib/errors";
import { consoleLines } from "#manifest";
import { type Machine, startMachine } from "../machine.ts";
import type { Bench } from "./bench.ts";
import type { Measure } from "./row.ts";
import { processorMs } from "./timing.ts";

const bootTimeoutMs = 240_000;
/** Duties begin with the boot; what they do at first is not what they do all day. */
const settleMs = 60_000;
const minutesDefault = 5;
const minutesMax = 24 * 60;
const dayMs = 24 * 60 * 60 * 1000;
const megabyte = 1_000_000;

/** What a machine that nobody asks anything writes and burns: a native one, after its first minute, for `--minutes N` (5). */
export const idleBench: Bench = async ({ images, accelerator, words, say }) => {
  const minutes = minutesOf(words);
  const folder = mkdtempSync(join(tmpdir(), "aios-bench-idle-"));
  const machine = await startMachine({
    lane: "native",
    data: "folder",
    images: await images(),
    folder,
    operatorFolder: join(folder, "operator"),
    accelerator,
  });
  try {
    await machine.waitFor(consoleLines.ready, bootTimeoutMs);
    await delay(settleMs);
    const before = look(machine, folder);
    say(`bench: idle: looking for ${minutes} minutes`);
    await delay(minutes * 60_000);
    const after = look(machine, folder);
    const ms = after.at - before.at;
    const perDay = (from: number, to: number) => ((to - from) * dayMs) / ms;
    const measures: Measure[] = [
      { name: "ledger.growth_per_day", value: perDay(before.ledgerBytes, after.ledgerBytes) / megabyte, unit: "MB" },
      { name: "ledger.rows_per_day", value: perDay(before.ledgerRows, after.ledgerRows), unit: "count" },
      { name: "processor", value: ((after.processorMs - before.processorMs) / ms) * 100, unit: "percent" },
    ];
    await machine.powerOff();
    return measures;
  } finally {
    await machine.cut();
    rmSync(folder, { recursive: true, force: true });
  }
};

function minutesOf(words: readonly string[]): number {
  const at = words.indexOf("--minutes");
  const minutes = at < 0 ? minutesDefault : Number(words[at + 1]);
  if (minutes > 0 && minutes <= minutesMax) return minutes;
  throw new AiosError("INVALID_ARGUMENT", `bench idle: --minutes takes a number up to ${minutesMax}: --minutes 5`);
}

interface Look {
  readonly at: number;
  readonly ledgerBytes: number;
  readonly ledgerRows: number;
  readonly processorMs: number;
}

function look(machine: Machine, folder: string): Look {
  const processes = machine.processes();
  const tools = processes.find(({ argv }) => argv.some((word) => /\/tools\.[cm]js$/.test(word)));
  if (tools === undefined) throw new Error("the machine has no aios-tools");
  const files = `/proc/${tools.hostPid}/root/var/lib/aios/ledger`;
  const copy = join(folder, "ledger");
  rmSync(copy, { recursive: true, force: true });
  cpSync(files, copy, { recursive: true, filter: (path) => !statSync(path).isSocket() });
  const kept = readdirSync(copy)
    .filter((name) => name.endsWith(".db"))
    .map((name) => sizeOf(join(copy, name)));
  return {
    at: performance.now(),
    ledgerBytes: kept.reduce((sum, { bytes }) => sum + bytes, 0),
    ledgerRows: kept.reduce((sum, { rows }) => sum + rows, 0),
    processorMs: processes.reduce((sum, { hostPid }) => sum + processorMs(hostPid), 0),
  };
}

/** Bytes of the pages that a database uses, its log merged in, and the rows of its tables. */
function sizeOf(path: string): { readonly bytes: number; readonly rows: number } {
  const database = new Database(path);
  try {
    const number = (sql: string) => Number(database.prepare(sql).pluck().get());
    const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all() as string[];
    return {
      bytes: (number("PRAGMA page_count") - number("PRAGMA freelist_count")) * number("PRAGMA page_size"),
      rows: tables.reduce((sum, table) => sum + number(`SELECT count(*) FROM "${table.replaceAll('"', '""')}"`), 0),
    };
  } finally {
    database.close();
  }
}
