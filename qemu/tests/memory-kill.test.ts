import { mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AppendRequest } from "#proto/aios/journal";
import { Event, GoalRecord, Pattern, TaskRecord } from "#proto/aios/memory";
import { type MemoryDaemon, memoryProgram, startMemory, storesIn } from "../memory-daemon.ts";

const rounds = 200;
const repository = resolve(import.meta.dirname, "../..");
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

let folder: string;
let program: string;
beforeAll(async () => {
  folder = mkdtempSync("/tmp/aios-memory-kill-");
  program = await memoryProgram(repository, join(folder, "program"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What was acknowledged. */
interface Acknowledged {
  readonly goals: Map<string, string>;
  readonly tasks: string[];
  readonly events: string[];
  readonly journal: Map<string, number>;
  uses: number;
}

type Lane = (daemon: MemoryDaemon, round: number, done: Acknowledged, wrote: () => void) => Promise<never>;

/** Callers that write until there is nobody to write to. */
const lanes: readonly Lane[] = [
  ...[0, 1].map(
    (lane): Lane =>
      async ({ memory }, round, { goals, tasks }, wrote) => {
        for (let at = 0; ; at++) {
          const id = `goal-${round}-${lane}-${at}`;
          const metadataJson = json({ id, tags: ["x".repeat(200)] });
          await memory.storeGoal(GoalRecord.fromPartial({ id, description: id, status: "in_progress", metadataJson }));
          goals.set(id, "in_progress");
          wrote();
          const names = [0, 1, 2].map((part) => `${id}-${part}`);
          await Promise.all(
            names.map(async (name) => {
              await memory.storeTask(TaskRecord.fromPartial({ id: name, goalId: id, status: "pending" }));
              tasks.push(name);
            }),
          );
          await memory.updateGoal({ id, status: "completed", result: id });
          goals.set(id, "completed");
        }
      },
  ),
  async ({ memory }, round, { events }, wrote) => {
    for (let at = 0; ; at++) {
      const id = `event-${round}-${at}`;
      await memory.pushEvent(Event.fromPartial({ id, category: "error", source: "test", critical: true }));
      events.push(id);
      wrote();
    }
  },
  async ({ journal }, round, done, wrote) => {
    const sessionId = `s${round % 7}`;
    for (let { head } = await journal.head({ sessionId, branchId: "" }); ; ) {
      const events = [1, 2].map((next) => ({
        event_id: `${sessionId}-${round}-${head + next}`,
        session_id: sessionId,
        branch_id: "main",
        timestamp: "2026-11-21T04:30:00Z",
        kind: { type: "Heartbeat", summary: "x".repeat(300) },
      }));
      const request = AppendRequest.fromPartial({ sessionId, expectedHead: head, eventsJson: events.map(json) });
      ({ head } = await journal.append(request));
      done.journal.set(sessionId, head);
      wrote();
    }
  },
  async ({ memory }, _, done, wrote) => {
    for (;;) {
      await memory.updatePatternStats({ id: "p", success: true });
      done.uses++;
      wrote();
    }
  },
];

it(`keeps every acknowledged write over ${rounds} SIGKILLs at random moments under load`, {
  timeout: 900_000,
}, async () => {
  const done: Acknowledged = { goals: new Map(), tasks: [], events: [], journal: new Map(), uses: 0 };
  let daemon = await startMemory(program, folder);
  await daemon.memory.storePattern(Pattern.fromPartial({ id: "p", trigger: "t", action: "a" }));
  for (let round = 0; round < rounds; round++) {
    // Sometimes among the very first writes after a start, sometimes after some hundred.
    let left = 1 + Math.floor(Math.random() ** 3 * 400);
    const current = daemon;
    const wrote = () => {
      if (--left === 0) setTimeout(() => void current.kill("SIGKILL"), Math.random() * 5);
    };
    await Promise.allSettled(lanes.map((lane) => lane(current, round, done, wrote)));
    await current.ended;
    daemon = await startMemory(program, folder);
    const [id] = [...done.goals.keys()].slice(-1);
    if (id !== undefined) expect((await daemon.query.getGoal({ goalId: id })).description).toBe(id);
  }
  await daemon.kill("SIGKILL");
  expect(done.goals.size).toBeGreaterThan(rounds);
  look(done);
});

/** Reads the files as they are. */
function look(done: Acknowledged): void {
  const { working, journal, longterm } = storesIn(folder);
  const open = (path: string) => {
    const file = new Database(path);
    expect(file.pragma("integrity_check", { simple: true })).toBe("ok");
    expect(file.pragma("foreign_key_check")).toEqual([]);
    return file;
  };
  open(longterm).close();
  const stored = open(working);
  const goals = stored
    .prepare("SELECT id, status, result, completed_at AS completed, metadata_json AS metadata FROM goals")
    .all();
  const byId = new Map((goals as GoalRow[]).map((goal) => [goal.id, goal]));
  for (const [id, status] of done.goals) {
    const goal = byId.get(id);
    // A later change may be there without having been acknowledged; an earlier state may not.
    expect(status === "completed" ? [goal?.status] : ["completed", "in_progress"]).toContain(goal?.status ?? "missing");
  }
  for (const { id, status, result, completed, metadata } of byId.values()) {
    expect(JSON.parse(metadata.toString()).id).toBe(id);
    expect(status === "completed").toBe(completed > 0);
    expect(result).toBe(status === "completed" ? id : "");
  }
  const has = (table: string) => new Set(stored.prepare(`SELECT id FROM ${table}`).pluck().all());
  const [tasks, events] = [has("tasks"), has("events")];
  expect(done.tasks.filter((id) => !tasks.has(id))).toEqual([]);
  expect(done.events.filter((id) => !events.has(id))).toEqual([]);
  expect(stored.prepare("SELECT uses FROM patterns").pluck().get()).toBeGreaterThanOrEqual(done.uses);
  stored.close();
  const kept = open(journal);
  for (const [sessionId, head] of done.journal) {
    const sequences = kept
      .prepare(
        `SELECT sequence FROM journal JOIN branches ON branches.number = branch JOIN sessions ON sessions.number = session
         WHERE session_id = ? ORDER BY sequence`,
      )
      .pluck()
      .all(sessionId) as number[];
    expect(sequences.length).toBeGreaterThanOrEqual(head);
    expect(sequences).toEqual(sequences.map((_, at) => at + 1));
    // Two at a time: all of an append or none of it.
    expect(sequences.length % 2).toBe(0);
  }
  kept.close();
}

interface GoalRow {
  readonly id: string;
  readonly status: string;
  readonly result: string;
  readonly completed: number;
  readonly metadata: Buffer;
}
