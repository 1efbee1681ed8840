import { join } from "node:path";
import { openDatabase } from "#lib/data/sqlite";
import { AppendRequest } from "#proto/aios/journal";
import { startMemory } from "../../memory-daemon.ts";
import { quantile, repeat } from "../repeat.ts";
import type { Part } from "./part.ts";

const alone = 1_000;
const sessions = 64;
const each = 200;
const caughtUp = 50_000;
const batch = 500;

const record = (sessionId: string, id: string) => ({
  event_id: id,
  session_id: sessionId,
  agent_id: "system",
  branch_id: "main",
  sequence: 0,
  timestamp: "2026-11-21T04:30:00Z",
  actor: { type: "agent", component: "kernel" },
  schema: { name: "aios-protocol", version: "0.1.0" },
  kind: {
    type: "ToolCallCompleted",
    tool_run_id: id,
    tool_name: "fs.read",
    result: "x".repeat(200),
    duration_ms: 3,
    status: "ok",
  },
});
const bytes = (sessionId: string, id: string) => Buffer.from(JSON.stringify(record(sessionId, id)));

/** Appends with an expected head, one at a time and by 64 sessions at once; catching up with 50,000 events. */
export const journalPart: Part = async ({ program, folder, say }) => {
  const library = bareJournal(folder("bare-journal"));
  const daemon = await startMemory(program, folder("journal"));
  try {
    const { journal } = daemon;
    const append = (sessionId: string, ids: readonly string[], expectedHead?: number) =>
      journal.append(
        AppendRequest.fromPartial({ sessionId, expectedHead, eventsJson: ids.map((id) => bytes(sessionId, id)) }),
      );
    await repeat(2_000, 16, (at) => append(`warm${at % 16}`, [`w${at}`]));
    const one = await repeat(alone, 1, (at) => append("alone", [`a${at}`], at));
    const heads = new Map<string, number>();
    const lanes = Array.from({ length: sessions }, (_, lane) => `s${lane}`);
    const from = performance.now();
    await Promise.all(
      lanes.map(async (lane) => {
        for (let at = 0; at < each; at++) await append(lane, [`${lane}-${at}`], at);
        heads.set(lane, each);
      }),
    );
    const together = ((sessions * each) / (performance.now() - from)) * 1_000;
    for (let at = 0; at < caughtUp; at += batch)
      await append(
        "long",
        Array.from({ length: batch }, (_, n) => `l${at + n}`),
        at,
      );
    const started = performance.now();
    let seen = 0;
    for await (const { sequence } of journal.subscribe({ sessionId: "long", branchId: "", afterSequence: 0 })) {
      if (sequence !== ++seen) throw new Error(`the journal gave ${sequence} as its event ${seen}`);
      if (seen === caughtUp) break;
    }
    const catchUp = (caughtUp / (performance.now() - started)) * 1_000;
    say(`bench: memory: journal ${Math.round(together)} appends/s, ${Math.round(catchUp)} events/s caught up`);
    return [
      { name: "journal.append_alone.p50", value: quantile(one.times, 0.5), unit: "ms" },
      { name: "journal.append_alone", value: one.perSecond, unit: "per_s" },
      { name: "journal.append_64_sessions", value: together, unit: "per_s" },
      { name: "journal.bare_library_alone", value: library.alone, unit: "per_s" },
      { name: "journal.bare_library_groups_of_64", value: library.groups, unit: "per_s" },
      { name: "journal.catch_up", value: catchUp, unit: "per_s" },
      { name: "journal.bare_library_read", value: library.read, unit: "per_s" },
    ];
  } finally {
    await daemon.kill("SIGTERM");
  }
};

/** The same by better-sqlite3 alone. */
function bareJournal(folder: string) {
  const schema =
    "CREATE TABLE journal (branch INTEGER, sequence INTEGER, event TEXT, PRIMARY KEY (branch, sequence)) WITHOUT ROWID;";
  const database = openDatabase(join(folder, "bare.db"), [schema]);
  const insert = database.prepare("INSERT INTO journal VALUES (?, ?, ?)");
  const put = (branch: number, sequence: number) =>
    insert.run(branch, sequence, JSON.stringify(record("s", `e${sequence}`)));
  const rate = (count: number, act: () => void) => {
    const from = performance.now();
    act();
    return (count / (performance.now() - from)) * 1_000;
  };
  const one = rate(alone, () => {
    for (let at = 0; at < alone; at++) put(1, at);
  });
  const group = database.transaction((from: number) => {
    for (let at = from; at < from + 64; at++) put(2, at);
  });
  const groups = rate(64 * 300, () => {
    for (let at = 0; at < 300; at++) group(at * 64);
  });
  const fill = database.transaction(() => {
    for (let at = 0; at < caughtUp; at++) put(3, at);
  });
  fill();
  const rows = database.prepare("SELECT event FROM journal WHERE branch = 3 ORDER BY sequence").pluck();
  let length = 0;
  const read = rate(caughtUp, () => {
    for (const row of rows.iterate()) length += String(row).length;
  });
  database.close();
  if (length === 0) throw new Error("the bare journal is empty");
  return { alone: one, groups, read };
}
