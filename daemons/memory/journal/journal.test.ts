import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AppendRequest, type JournalEvent } from "#proto/aios/journal";
import { json, type OpenMemory, openMemory } from "../testing/harness.ts";

let folder: string;
let opened: OpenMemory;
let journal: OpenMemory["journal"];

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-journal-");
  opened = await openMemory(folder);
  journal = opened.journal;
});
afterEach(async () => {
  await opened.close();
  rmSync(folder, { recursive: true });
});

const record = (id: string, fields: object = {}) => ({
  event_id: id,
  session_id: "s",
  agent_id: "system",
  branch_id: "main",
  timestamp: "2026-11-21T04:30:00Z",
  kind: { type: "Heartbeat", summary: id },
  ...fields,
});
const request = (fields: Partial<AppendRequest>) => AppendRequest.fromPartial({ sessionId: "s", ...fields });
/** Appends events of these ids; on another branch than "main" they say so. */
const append = (ids: readonly string[], branchId = "main", expectedHead?: number) =>
  journal.append(
    request({ branchId, eventsJson: ids.map((id) => json(record(id, { branch_id: branchId }))), expectedHead }),
  );
const read = async (branchId = "main", fromSequence = 0, limit = 0) =>
  (await journal.read({ sessionId: "s", branchId, fromSequence, limit })).events;
const ids = (events: readonly JournalEvent[]) => events.map(({ sequence, eventId }) => `${sequence} ${eventId}`);

describe("the JSON of events", () => {
  const lines = readFileSync(new URL("golden/events.jsonl", import.meta.url), "utf8")
    .trimEnd()
    .split("\n");

  it("is kept byte for byte as the crate writes it: kinds, directives, stop reasons, numbers, unknown ones", async () => {
    await journal.append(request({ eventsJson: lines.map((line) => Buffer.from(line)), expectedHead: 0 }));
    await opened.close();
    opened = await openMemory(folder);
    journal = opened.journal;
    expect((await read()).map(({ eventJson }) => eventJson.toString())).toEqual(lines);
  });

  it("gets its sequence where it was sent without one or with 0, and nothing else", async () => {
    const without = lines.map((line) => Buffer.from(line.replace(/"sequence":\d+,/, "")));
    const zero = lines.map((line) => Buffer.from(line.replace(/"sequence":\d+/, '"sequence" : 0')));
    await journal.append(request({ eventsJson: without }));
    expect((await read()).map(({ eventJson }) => eventJson.toString())).toEqual(lines);
    const again = await journal.append(
      request({ eventsJson: zero.slice(3, 4).map((line) => Buffer.from(`${line}`.replace("0199-04", "new"))) }),
    );
    expect(again.events[0]?.eventJson.toString()).toBe(
      lines[3]?.replace("0199-04", "new").replace('"sequence":4', `"sequence" : ${lines.length + 1}`),
    );
  });

  it.each<[string, object | string, RegExp]>([
    ["no JSON", "{", /events_json: it is not JSON/],
    ["a list", "[]", /not a JSON object/],
    ["no id", record(""), /events_json.event_id/],
    ["another session", record("a", { session_id: "other" }), /events_json.session_id: it is not s/],
    ["another branch", record("a", { branch_id: "other" }), /events_json.branch_id/],
    ["a time in milliseconds", record("a", { timestamp: 1_763_700_000_000 }), /events_json.timestamp.*RFC 3339/],
    ["a time without a zone", record("a", { timestamp: "2026-11-21T04:30:00" }), /events_json.timestamp/],
    ["a kind without a type", record("a", { kind: { content: "x" } }), /events_json.kind/],
    ["half a sequence", record("a", { sequence: 1.5 }), /events_json.sequence/],
    ["a blob", record("a", { kind: { type: "X", blob: "x".repeat(1_048_576) } }), /at most 1048576/],
  ])("is refused: %s", async (_, event, message) => {
    const bytes = typeof event === "string" ? Buffer.from(event) : json(event);
    await expect(journal.append(request({ eventsJson: [bytes] }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });
});

describe("appending", () => {
  it("numbers events from 1 without gaps, in each session and branch", async () => {
    expect((await journal.head({ sessionId: "s", branchId: "" })).head).toBe(0);
    expect(await append(["a", "b"])).toMatchObject({ head: 2 });
    expect(ids((await append(["c"], "main", 2)).events)).toEqual(["3 c"]);
    await journal.append(
      AppendRequest.fromPartial({ sessionId: "t", eventsJson: [json(record("a", { session_id: "t" }))] }),
    );
    expect((await journal.head({ sessionId: "t", branchId: "main" })).head).toBe(1);
    expect(ids(await read())).toEqual(["1 a", "2 b", "3 c"]);
    expect(ids(await read("main", 2, 1))).toEqual(["2 b"]);
    expect(await read("main", 9)).toEqual([]);
  });

  it("refuses with both numbers when the head is another, and appends nothing", async () => {
    await append(["a", "b"]);
    const conflict = (expected: number) => ({
      code: "ABORTED",
      message: expect.stringContaining(`expected head ${expected}, actual head 2`),
    });
    await expect(append(["c", "d"], "main", 1)).rejects.toMatchObject(conflict(1));
    await expect(append(["c"], "main", 7)).rejects.toMatchObject(conflict(7));
    const wrong = [json(record("c", { sequence: 9 }))];
    await expect(journal.append(request({ eventsJson: wrong }))).rejects.toMatchObject(conflict(8));
    expect(ids(await read())).toEqual(["1 a", "2 b"]);
  });

  it("answers with the head alone where the caller knows the events", async () => {
    const first = await journal.append(request({ eventsJson: [json(record("a"))], noEvents: true }));
    expect(first).toEqual({ head: 1, events: [] });
    expect(await journal.append(request({ eventsJson: [json(record("a"))], noEvents: true }))).toEqual(first);
    expect(ids(await read())).toEqual(["1 a"]);
  });

  it("lets one of many win who expect the same head", async () => {
    await append(["a"]);
    const tries = await Promise.allSettled(Array.from({ length: 20 }, (_, at) => append([`x${at}`], "main", 1)));
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect((await read()).map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  it("may be repeated, and does not take another content for the same event", async () => {
    const first = await append(["a", "b"], "main", 0);
    expect(await append(["a", "b"], "main", 0)).toEqual(first);
    const other = [json(record("a", { kind: { type: "Heartbeat", summary: "another" } }))];
    await expect(journal.append(request({ eventsJson: other }))).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    await expect(append(["b", "c"])).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    expect(ids(await read())).toEqual(["1 a", "2 b"]);
  });

  it("needs a fork first on another branch than main, and distinct events", async () => {
    await expect(append(["a"], "try")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(append(["a", "a"])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(append([])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

it("gives no more than an answer holds, and the rest when it is asked on", async () => {
  const large = (id: string) => json(record(id, { kind: { type: "X", blob: "x".repeat(900_000) } }));
  for (const id of ["a", "b", "c", "d", "e"]) await journal.append(request({ eventsJson: [large(id)] }));
  expect(ids(await read("main", 1, 10_000))).toEqual(["1 a", "2 b", "3 c"]);
  expect(ids(await read("main", 4, 10_000))).toEqual(["4 d", "5 e"]);
});

describe("branches", () => {
  const fork = (branchId: string, fromBranch = "", forkSequence?: number) =>
    journal.fork({ sessionId: "s", branchId, fromBranch, forkSequence });

  it("read through to their parents up to where they forked, and go on by themselves", async () => {
    await append(["a", "b", "c"]);
    expect(await fork("try", "main", 2)).toMatchObject({ parentBranch: "main", forkSequence: 2, headSequence: 2 });
    await append(["x", "y"], "try", 2);
    await append(["d"]);
    expect(await fork("deeper", "try")).toMatchObject({ forkSequence: 4 });
    await append(["z"], "deeper", 4);
    expect(await fork("early", "deeper", 1)).toMatchObject({ headSequence: 1 });
    expect(ids(await read())).toEqual(["1 a", "2 b", "3 c", "4 d"]);
    expect(ids(await read("try"))).toEqual(["1 a", "2 b", "3 x", "4 y"]);
    expect(ids(await read("deeper"))).toEqual(["1 a", "2 b", "3 x", "4 y", "5 z"]);
    expect(ids(await read("deeper", 2, 2))).toEqual(["2 b", "3 x"]);
    expect(ids(await read("early"))).toEqual(["1 a"]);
    const { branches } = await journal.listBranches({ sessionId: "s", limit: 0, cursor: "" });
    expect(branches.map(({ branchId, headSequence }) => `${branchId} ${headSequence}`)).toEqual([
      ...["main 4", "try 4", "deeper 5", "early 1"],
    ]);
  });

  it("are refused past the parent's head, from nowhere, and under a name that is taken; the same again is no error", async () => {
    await append(["a"]);
    await expect(fork("try", "main", 2)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    await expect(fork("try", "nowhere")).rejects.toMatchObject({ code: "NOT_FOUND" });
    const made = await fork("try");
    expect(await fork("try")).toEqual(made);
    await expect(fork("try", "main", 0)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    await expect(fork("")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("and sessions are listed page by page", async () => {
    for (const sessionId of ["s1", "s2", "s3"]) {
      const event = record("a", { session_id: sessionId, agent_id: sessionId === "s2" ? "dev" : "system" });
      await journal.append(AppendRequest.fromPartial({ sessionId, eventsJson: [json(event)] }));
    }
    const first = await journal.listSessions({ limit: 2, cursor: "", agentId: "" });
    expect(first.sessions.map(({ sessionId }) => sessionId)).toEqual(["s3", "s2"]);
    const second = await journal.listSessions({ limit: 2, cursor: first.nextCursor, agentId: "" });
    expect(second).toMatchObject({ sessions: [{ sessionId: "s1", branches: 1 }], nextCursor: "" });
    const some = await journal.listSessions({ limit: 0, cursor: "", agentId: "dev" });
    expect(some.sessions).toMatchObject([{ sessionId: "s2", agentId: "dev" }]);
  });
});

describe("subscribing", () => {
  /** Reads so many events, then goes. */
  const follow = async (count: number, branchId = "main", afterSequence = 0) => {
    const seen: JournalEvent[] = [];
    if (count === 0) return seen;
    for await (const event of journal.subscribe({ sessionId: "s", branchId, afterSequence })) {
      seen.push(event);
      if (seen.length === count) break;
    }
    return seen;
  };

  it("gives what there is and then what comes, each once and in order, to many while others append", async () => {
    const total = 1_200;
    await append(Array.from({ length: 600 }, (_, at) => `e${at + 1}`));
    const readers = [0, 1, 300, 599, 600].map((after) => follow(total - after, "main", after));
    let next = 601;
    const writer = async () => {
      while (next <= total) await append([`e${next++}`]);
    };
    await Promise.all([writer(), writer(), writer()]);
    for (const [at, events] of (await Promise.all(readers)).entries()) {
      const after = [0, 1, 300, 599, 600][at] ?? 0;
      expect(events.map(({ sequence }) => sequence)).toEqual(
        Array.from({ length: total - after }, (_, n) => after + n + 1),
      );
    }
  });

  it("waits for a session and a branch that do not exist yet", async () => {
    const main = follow(1);
    const branch = follow(2, "try");
    await append(["a"]);
    expect(ids(await main)).toEqual(["1 a"]);
    await journal.fork({ sessionId: "s", branchId: "try", fromBranch: "", forkSequence: undefined });
    await append(["x"], "try");
    expect(ids(await branch)).toEqual(["1 a", "2 x"]);
  });

  it("is forgotten when the reader goes", async () => {
    await append(["a"]);
    await follow(1);
    await expect.poll(async () => (await opened.admin.getStats({})).journalSubscribers).toBe(0);
  });
});
