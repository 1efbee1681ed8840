import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ManualClock } from "#lib/clock";
import { connect } from "#lib/rpc/client";
import {
  AgentState,
  Decision,
  Event,
  GoalRecord,
  MemoryServiceService,
  TaskRecord,
  ToolCallRecord,
} from "#proto/aios/memory";
import { entriesMax, json, type OpenMemory, openMemory, start } from "./testing/harness.ts";

let folder: string;
let clock: ManualClock;
let opened: OpenMemory;
let memory: OpenMemory["memory"];
let query: OpenMemory["query"];

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-memory-");
  await open();
});
afterEach(async () => {
  await opened.close();
  rmSync(folder, { recursive: true });
});

async function open(): Promise<void> {
  opened = await openMemory(folder);
  ({ clock, memory, query } = opened);
}
const close = () => opened.close();

const goal = (fields: Partial<GoalRecord>) =>
  GoalRecord.fromPartial({ id: "g", description: "d", status: "pending", createdAt: start, ...fields });
const task = (fields: Partial<TaskRecord>) =>
  TaskRecord.fromPartial({ id: "t", goalId: "g", status: "pending", ...fields });

describe("goals", () => {
  it("are kept whole over a restart", async () => {
    const stored = goal({ priority: 1, metadataJson: json({ tags: ["a"] }), result: "–" });
    await memory.storeGoal(stored);
    await close();
    await open();
    expect(await query.getGoal({ goalId: "g" })).toEqual(stored);
  });

  it("leave the active ones when they are over, and know when that was", async () => {
    await memory.storeGoal(goal({}));
    await memory.storeGoal(goal({ id: "h", createdAt: start - 1 }));
    await clock.advance(1_000);
    await memory.updateGoal({ id: "g", status: "failed", result: "no procedure" });
    await clock.advance(1_000);
    await memory.updateGoal({ id: "g", status: "failed", result: "no procedure at all" });
    await memory.updateGoal({ id: "h", status: "in_progress", result: "" });
    expect((await memory.getActiveGoals({})).goals.map(({ id }) => id)).toEqual(["h"]);
    expect(await query.getGoal({ goalId: "g" })).toMatchObject({
      status: "failed",
      result: "no procedure at all",
      completedAt: start + 1_000,
    });
  });

  it("are listed newest first, page by page, also when some were created at once or come in between", async () => {
    for (let at = 0; at < 7; at++)
      await memory.storeGoal(goal({ id: `g${at}`, createdAt: start + Math.floor(at / 2) }));
    await memory.storeGoal(goal({ id: "done", status: "completed", createdAt: start }));
    const first = await query.listGoals({ status: "pending", limit: 3, cursor: "", offset: 0 });
    expect(first.goals.map(({ id }) => id)).toEqual(["g6", "g5", "g4"]);
    expect(first.total).toBe(7);
    await memory.storeGoal(goal({ id: "newer", createdAt: start + 10 }));
    const second = await query.listGoals({ status: "pending", limit: 3, cursor: first.nextCursor, offset: 0 });
    expect(second.goals.map(({ id }) => id)).toEqual(["g3", "g2", "g1"]);
    const third = await query.listGoals({ status: "pending", limit: 3, cursor: second.nextCursor, offset: 0 });
    expect(third).toMatchObject({ goals: [{ id: "g0" }], nextCursor: "" });
  });

  it("are listed from any place on, and counted anew after each change", async () => {
    for (let at = 0; at < 7; at++) await memory.storeGoal(goal({ id: `g${at}`, createdAt: start + at }));
    const from = async (offset: number, cursor = "", status = "pending") => {
      const { goals, total, nextCursor } = await query.listGoals({ status, limit: 2, cursor, offset });
      return { ids: goals.map(({ id }) => id), total, nextCursor };
    };
    const third = await from(2);
    expect(third).toMatchObject({ ids: ["g4", "g3"], total: 7 });
    expect(await from(1, third.nextCursor)).toMatchObject({ ids: ["g1", "g0"], nextCursor: "" });
    expect(await from(7)).toEqual({ ids: [], total: 7, nextCursor: "" });
    await memory.updateGoal({ id: "g6", status: "completed", result: "" });
    expect(await from(0)).toMatchObject({ ids: ["g5", "g4"], total: 6 });
    expect(await from(0, "", "completed")).toMatchObject({ ids: ["g6"], total: 1 });
    expect(await from(0, "", "")).toMatchObject({ ids: ["g6", "g5"], total: 7 });
    await expect(from(-1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("fill a page no further than a message goes", async () => {
    const metadataJson = json("x".repeat(900_000));
    for (let at = 0; at < 5; at++) await memory.storeGoal(goal({ id: `g${at}`, createdAt: start + at, metadataJson }));
    const first = await query.listGoals({ status: "", limit: 0, cursor: "", offset: 0 });
    expect(first.goals.map(({ id }) => id)).toEqual(["g4", "g3", "g2"]);
    const second = await query.listGoals({ status: "", limit: 0, cursor: first.nextCursor, offset: 0 });
    expect(second.goals.map(({ id }) => id)).toEqual(["g1", "g0"]);
    await expect(memory.getActiveGoals({})).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  });

  it("that are unknown are said to be", async () => {
    const unknown = { code: "NOT_FOUND", message: expect.stringContaining("goal nobody") };
    await expect(query.getGoal({ goalId: "nobody" })).rejects.toMatchObject(unknown);
    await expect(memory.updateGoal({ id: "nobody", status: "failed", result: "" })).rejects.toMatchObject(unknown);
    await expect(memory.storeTask(task({ goalId: "nobody" }))).rejects.toMatchObject(unknown);
    await expect(query.listGoals({ status: "", limit: 0, cursor: "?", offset: 0 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("next_cursor"),
    });
  });
});

describe("tasks", () => {
  it("are replaced by their id and come in the order in which they were added", async () => {
    await memory.storeGoal(goal({}));
    for (const id of ["t2", "t1", "t3"]) await memory.storeTask(task({ id }));
    const done = task({
      id: "t1",
      status: "completed",
      outputJson: json({ ok: true }),
      startedAt: start,
      durationMs: 5,
    });
    await memory.storeTask(done);
    const { tasks } = await memory.getTasksForGoal({ goalId: "g" });
    expect(tasks.map(({ id }) => id)).toEqual(["t2", "t1", "t3"]);
    expect(tasks[1]).toEqual(done);
  });
});

describe("what agents did and decided", () => {
  it("is in the file", async () => {
    await memory.storeToolCall(
      ToolCallRecord.fromPartial({ id: "c", toolName: "fs.read", agent: "system", success: true, inputJson: json({}) }),
    );
    const decision = Decision.fromPartial({ id: "d", chosen: "restart", optionsJson: json(["restart", "wait"]) });
    await memory.storeDecision(decision);
    await memory.storeDecision({ ...decision, outcome: "it worked" });
    // The file is the daemon's alone: what a power cut would leave of it is looked at.
    for (const part of ["db", "db-wal"])
      copyFileSync(join(folder, `memory/working.${part}`), join(folder, `copy.${part}`));
    const file = new Database(join(folder, "copy.db"));
    expect(file.prepare("SELECT tool_name, success, timestamp FROM tool_calls").all()).toEqual([
      { tool_name: "fs.read", success: 1, timestamp: start },
    ]);
    expect(file.prepare("SELECT chosen, outcome FROM decisions").all()).toEqual([
      { chosen: "restart", outcome: "it worked" },
    ]);
    file.close();
  });

  it("includes each agent's state", async () => {
    const state = AgentState.fromPartial({ agentName: "system", stateJson: json({ seen: 1 }) });
    await memory.storeAgentState(state);
    expect(await memory.getAgentState({ agentName: "system" })).toEqual({ ...state, updatedAt: start });
    await expect(memory.getAgentState({ agentName: "dev" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("events", () => {
  const event = (fields: Partial<Event>) => Event.fromPartial({ category: "event", source: "init", ...fields });
  const recent = async (count = 0, category = "", source = "") =>
    (await memory.getRecentEvents({ count, category, source })).events.map(({ id }) => id);

  it("come newest first and by category and source", async () => {
    await memory.pushEvent(event({ id: "a" }));
    await memory.pushEvent(event({ id: "b", source: "tools" }));
    await memory.pushEvent(event({ id: "c", category: "error", source: "tools" }));
    expect(await recent()).toEqual(["c", "b", "a"]);
    expect(await recent(1)).toEqual(["c"]);
    expect(await recent(0, "event")).toEqual(["b", "a"]);
    expect(await recent(0, "event", "tools")).toEqual(["b"]);
  });

  it("are bounded in number and age", async () => {
    for (let at = 0; at < entriesMax + 5; at++) await memory.pushEvent(event({ id: `e${at}` }));
    expect(await recent(100)).toHaveLength(entriesMax);
    expect((await recent(100)).at(-1)).toBe("e5");
    await clock.advance(3_600_001);
    expect(await recent(100)).toEqual([]);
  });

  it("outlive a restart when they are critical", async () => {
    await memory.pushEvent(event({ id: "kept", critical: true, dataJson: json({ why: "disk" }) }));
    await memory.pushEvent(event({ id: "lost" }));
    await close();
    await open();
    expect(await recent()).toEqual(["kept"]);
  });

  it("get an id and a time when they have none", async () => {
    await memory.pushEvent(event({}));
    const [stored] = (await memory.getRecentEvents({ count: 1, category: "", source: "" })).events;
    expect(stored).toMatchObject({ id: expect.stringMatching(/^[0-9a-f-]{36}$/), timestamp: start });
  });
});

describe("metrics and the snapshot", () => {
  it("give the last value", async () => {
    await memory.updateMetric({ key: "cpu.usage", value: 1, timestamp: 0 });
    await memory.updateMetric({ key: "cpu.usage", value: 2.5, timestamp: start });
    expect(await memory.getMetric({ key: "cpu.usage" })).toEqual({ key: "cpu.usage", value: 2.5, timestamp: start });
    await expect(memory.getMetric({ key: "none" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("show this machine and what is being done on it", async () => {
    await memory.storeGoal(goal({}));
    await memory.storeTask(task({ id: "t1", status: "in_progress", agent: "system" }));
    await memory.storeTask(task({ id: "t2", status: "assigned", agent: "system" }));
    await memory.storeTask(task({ id: "t3", status: "completed", agent: "dev" }));
    const snapshot = await memory.getSystemSnapshot({});
    expect(snapshot).toMatchObject({ activeTasks: 2, activeAgents: 1, loadedModels: ["tiny"] });
    expect(snapshot.memoryTotalMb).toBeGreaterThan(100);
    expect(snapshot.memoryUsedMb).toBeLessThan(snapshot.memoryTotalMb);
    expect(snapshot.diskTotalGb).toBeGreaterThan(snapshot.diskUsedGb);
    expect(snapshot.cpuPercent).toBeLessThanOrEqual(100);
  });

  it("say whether vectors can be searched", async () => {
    expect(await query.searchStatus({})).toMatchObject({ vectorsReady: false, detail: "not yet", chromaPid: 0 });
    Object.assign(opened.vectorStatus, { ready: true, detail: "yes", pid: 7 });
    expect(await query.searchStatus({})).toMatchObject({ vectorsReady: true, detail: "yes", chromaPid: 7 });
  });
});

describe("a clock that was set back", () => {
  it("keeps nothing from being stored: a goal given ten years later is closed", async () => {
    const later = start + 3_652 * 86_400_000;
    await memory.storeGoal(goal({ id: "later", createdAt: later }));
    await memory.storeGoal(goal({ id: "later", createdAt: later, status: "failed", completedAt: later }));
    expect(await query.getGoal({ goalId: "later" })).toMatchObject({ createdAt: later, status: "failed" });
  });
});

describe("bad input", () => {
  it.each<[string, () => Promise<unknown>, RegExp]>([
    [
      "a time in seconds",
      () => memory.storeGoal(goal({ createdAt: 1_700_000_000 })),
      /created_at: 1700000000.*seconds/,
    ],
    ["a time in microseconds", () => memory.storeGoal(goal({ createdAt: start * 1000 })), /created_at.*microseconds/],
    ["a negative time", () => memory.storeGoal(goal({ completedAt: -5 })), /completed_at/],
    ["no id", () => memory.storeGoal(goal({ id: "" })), /id: it is empty/],
    ["a long id", () => memory.storeGoal(goal({ id: "x".repeat(129) })), /id: 129 bytes, at most 128/],
    ["no status", () => memory.updateGoal({ id: "g", status: "", result: "" }), /status: it is empty/],
    ["JSON that is none", () => memory.storeTask(task({ inputJson: Buffer.from("{") })), /input_json: it is not JSON/],
    ["JSON that is no UTF-8", () => memory.storeTask(task({ outputJson: Buffer.from([34, 0xff, 34]) })), /output_json/],
    [
      "large JSON",
      () => memory.storeGoal(goal({ metadataJson: json("x".repeat(1_048_577)) })),
      /metadata_json: .*1048576/,
    ],
    ["large text", () => memory.storeGoal(goal({ result: "x".repeat(1_048_577) })), /result: .*1048576/],
    ["a task without a goal", () => memory.storeTask(task({ goalId: "" })), /goal_id: it is empty/],
    ["a metric that is no number", () => memory.updateMetric({ key: "k", value: Number.NaN, timestamp: 0 }), /value/],
    ["a negative count", () => memory.getRecentEvents({ count: -1, category: "", source: "" }), /-1/],
    ["an absurd page", () => query.listGoals({ status: "", limit: 501, cursor: "", offset: 0 }), /between 0 and 500/],
  ])("is refused: %s", async (_, call, message) => {
    await expect(call()).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });
});

it("takes fields that it does not know, of clients newer than it is", async () => {
  const unknownField = Buffer.from([0xfa, 0x3f, 3, 1, 2, 3]); // field 1023, three bytes
  const newer = {
    storeGoal: {
      ...MemoryServiceService.storeGoal,
      requestSerialize: (value: GoalRecord) => Buffer.concat([GoalRecord.encode(value).finish(), unknownField]),
    },
  };
  const client = connect(newer, opened.target);
  await client.storeGoal(goal({ id: "newer" }));
  client.close();
  expect(await query.getGoal({ goalId: "newer" })).toEqual(goal({ id: "newer" }));
});

it("deletes what is past its time, in batches, and keeps what is not over", async () => {
  const day = 86_400_000;
  const { working } = opened;
  const over = (id: string, days: number) =>
    working.putGoal({ ...goal({ id, status: "completed" }), completedAt: start - days * day });
  await Promise.all(Array.from({ length: 90 }, (_, at) => over(`old${at}`, 91)));
  await over("recent", 89);
  await working.putGoal(goal({ id: "open", createdAt: start - 200 * day }));
  await working.putTask(task({ goalId: "old1" }));
  for (const days of [29, 31])
    await working.putDecision(Decision.fromPartial({ id: `d${days}`, chosen: "x", timestamp: start - days * day }));
  await memory.updateMetric({ key: "m", value: 1, timestamp: start - 8 * day });
  await memory.updateMetric({ key: "n", value: 1, timestamp: start - 6 * day });
  await clock.advance(300_000 + 1_000);
  await vi.waitFor(async () => {
    await clock.advance(1_000);
    expect(working.goals("", 500, "").rows.map(({ id }) => id)).toEqual(["recent", "open"]);
    expect(working.metrics.last().map(({ key }) => key)).toEqual(["n"]);
  });
  expect(working.tasks("old1")).toEqual([]);
  const all = { intelligenceLevel: "", outcome: "", since: 0, until: 0 };
  expect(working.decisions(all, 10, "").rows.map(({ id }) => id)).toEqual(["d29"]);
});
