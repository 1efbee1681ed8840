import { mkdtempSync, rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AgentState, Decision, GoalRecord, Pattern, TaskRecord, ToolCallRecord } from "#proto/aios/memory";
import {
  ListAgentStatesQuery,
  ListDecisionsQuery,
  ListPatternsQuery,
  ListTasksQuery,
  ListToolCallsQuery,
  MetricHistoryQuery,
} from "#proto/aios/memory_query";
import { type OpenMemory, openMemory, start } from "../testing/harness.ts";
import { wilsonLowerBound } from "./patterns.ts";
import { similarity } from "./similarity.ts";

let folder: string;
let opened: OpenMemory;
let memory: OpenMemory["memory"];
let query: OpenMemory["query"];

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-working-");
  opened = await openMemory(folder);
  ({ memory, query } = opened);
});
afterEach(async () => {
  await opened.close();
  rmSync(folder, { recursive: true });
});

/** All pages of a list, two records at a time. */
async function pages<P extends { nextCursor: string }>(list: (cursor: string) => Promise<P>): Promise<P[]> {
  const all: P[] = [];
  for (let cursor = ""; ; ) {
    const page = await list(cursor);
    all.push(page);
    cursor = page.nextCursor;
    if (cursor === "") return all;
  }
}

describe("lists", () => {
  it("of tasks come by goal, status and agent, page by page", async () => {
    for (const id of ["g1", "g2"]) await memory.storeGoal(GoalRecord.fromPartial({ id, status: "in_progress" }));
    for (let at = 0; at < 6; at++) {
      const agent = at % 2 === 0 ? "system" : "dev";
      const status = at < 3 ? "completed" : "pending";
      await memory.storeTask(TaskRecord.fromPartial({ id: `t${at}`, goalId: at === 5 ? "g2" : "g1", agent, status }));
    }
    const ids = async (filter: Partial<ListTasksQuery>) =>
      (await pages((cursor) => query.listTasks(ListTasksQuery.fromPartial({ ...filter, limit: 2, cursor }))))
        .flatMap(({ tasks }) => tasks)
        .map(({ id }) => id);
    expect(await ids({})).toEqual(["t5", "t4", "t3", "t2", "t1", "t0"]);
    expect(await ids({ goalId: "g1", status: "pending" })).toEqual(["t4", "t3"]);
    expect(await ids({ agent: "system", status: "completed" })).toEqual(["t2", "t0"]);
    expect(await ids({ agent: "nobody" })).toEqual([]);
  });

  it("of tool calls and decisions come by time too", async () => {
    for (let at = 0; at < 5; at++) {
      const timestamp = start - at * 1_000;
      await memory.storeToolCall(
        ToolCallRecord.fromPartial({ id: `c${at}`, toolName: "fs.read", agent: "dev", success: at !== 1, timestamp }),
      );
      const level = at < 2 ? "reactive" : "tactical";
      await memory.storeDecision(
        Decision.fromPartial({ id: `d${at}`, chosen: "x", intelligenceLevel: level, timestamp }),
      );
    }
    const calls = async (filter: Partial<ListToolCallsQuery>) =>
      (await pages((cursor) => query.listToolCalls(ListToolCallsQuery.fromPartial({ ...filter, limit: 2, cursor }))))
        .flatMap(({ toolCalls }) => toolCalls)
        .map(({ id }) => id);
    expect(await calls({ toolName: "fs.read", agent: "dev" })).toEqual(["c0", "c1", "c2", "c3", "c4"]);
    expect(await calls({ success: false })).toEqual(["c1"]);
    expect(await calls({ success: true, since: start - 3_000, until: start })).toEqual(["c2", "c3"]);
    const decisions = async (filter: Partial<ListDecisionsQuery>) =>
      (await query.listDecisions(ListDecisionsQuery.fromPartial(filter))).decisions.map(({ id }) => id);
    expect(await decisions({ intelligenceLevel: "tactical" })).toEqual(["d2", "d3", "d4"]);
    await query.setDecisionOutcome({ id: "d3", outcome: "worked" });
    expect(await decisions({ outcome: "worked" })).toEqual(["d3"]);
    const { metadataJson } = opened.archive.record("decisions", "d3") ?? {};
    expect(JSON.parse(metadataJson?.toString() ?? "{}")).toMatchObject({ outcome: "worked" });
    await expect(query.setDecisionOutcome({ id: "none", outcome: "worked" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    await expect(calls({ since: 1_763_700_000 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/since: 1763700000.*seconds/),
    });
  });

  it("of agents' states come by name", async () => {
    for (const agentName of ["system", "dev", "task"])
      await memory.storeAgentState(AgentState.fromPartial({ agentName }));
    const all = await pages((cursor) => query.listAgentStates(ListAgentStatesQuery.fromPartial({ limit: 2, cursor })));
    expect(all.map(({ states }) => states.map(({ agentName }) => agentName))).toEqual([["dev", "system"], ["task"]]);
  });

  it("take no cursor that is not theirs", async () => {
    for (const cursor of ["?", Buffer.from("[1]").toString("base64url"), Buffer.from('[{},"x"]').toString("base64url")])
      await expect(query.listToolCalls(ListToolCallsQuery.fromPartial({ cursor }))).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
      });
  });
});

describe("patterns", () => {
  const store = (id: string, trigger: string, successRate = 1, uses = 20) =>
    memory.storePattern(Pattern.fromPartial({ id, trigger, action: "act", successRate, uses }));
  const find = async (trigger: string, minSuccessRate = 0) =>
    (await memory.findPattern({ trigger, minSuccessRate })).pattern?.id;

  it("are found by the likeness of their triggers", async () => {
    await store("nginx", "nginx service failed to start");
    await store("sshd", "sshd service failed to start");
    await store("disk", "disk usage of /var above 90 percent");
    expect(await find("the nginx service has failed to start")).toBe("nginx");
    expect(await find("Starting of service SSHD fails")).toBe("sshd");
    expect(await find("disk usage on /var is above 95 percent")).toBe("disk");
    expect(await find("certificate of the console expires")).toBeUndefined();
    expect(await memory.findPattern({ trigger: "certificate", minSuccessRate: 0 })).toEqual({ found: false });
  });

  it("count as good as their uses make certain", async () => {
    await store("lucky", "package install fails with a lock", 1, 1);
    await store("proven", "package install fails with a lock held", 0.95, 60);
    expect(await find("package install fails with a lock", 0)).toBe("lucky");
    expect(await find("package install fails with a lock", 0.8)).toBe("proven");
    expect(await find("package install fails with a lock", 0.95)).toBeUndefined();
    expect(wilsonLowerBound(1, 1)).toBeCloseTo(0.378, 3);
    expect(wilsonLowerBound(1, 100)).toBeCloseTo(0.984, 3);
    expect(wilsonLowerBound(0.5, 10)).toBeLessThan(0.5);
    expect(wilsonLowerBound(0, 50)).toBe(0);
    expect(wilsonLowerBound(1, 0)).toBe(0);
  });

  it("count every use when many do at once", async () => {
    await store("p", "a trigger", 0, 0);
    const uses = Array.from({ length: 200 }, (_, at) => memory.updatePatternStats({ id: "p", success: at % 4 !== 0 }));
    await Promise.all(uses);
    const [pattern] = (await query.listPatterns(ListPatternsQuery.fromPartial({}))).patterns;
    expect(pattern).toMatchObject({ uses: 200, lastUsed: start });
    expect(pattern?.successRate).toBeCloseTo(0.75, 10);
    await expect(memory.updatePatternStats({ id: "none", success: true })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("follow their words when they are stored again", async () => {
    await store("p", "nginx does not start");
    await store("p", "certificate expired");
    expect(await find("nginx does not start")).toBeUndefined();
    expect(await find("the certificate has expired")).toBe("p");
  });

  it.each<[Partial<Pattern>, RegExp]>([
    [{ successRate: 1.5 }, /success_rate: 1.5 is not between/],
    [{ uses: -1 }, /uses: -1 is negative/],
    [{ trigger: "" }, /trigger: it is empty/],
    [{ lastUsed: 1_700_000_000 }, /last_used: 1700000000.*seconds/],
  ])("are refused: %o", async (fields, message) => {
    const pattern = Pattern.fromPartial({ id: "p", trigger: "t", action: "a", ...fields });
    await expect(memory.storePattern(pattern)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });

  it("have a likeness that does not depend on the order, the case or the accents", () => {
    expect(similarity("restart nginx now", "NOW restart nginx")).toBeCloseTo(1);
    expect(similarity("mémoire pleine", "memoire pleine")).toBeCloseTo(1);
    expect(similarity("restarted nginx", "restart of nginx")).toBeGreaterThan(
      similarity("restarted nginx", "restart of sshd"),
    );
    expect(similarity("", "anything")).toBe(0);
    expect(similarity("alpha", "omega")).toBeLessThan(0.3);
  });
});

describe("metrics", () => {
  it("have a past, which outlives a restart", async () => {
    const set = (value: number, timestamp: number) => memory.updateMetric({ key: "cpu", value, timestamp });
    await set(1, start);
    await set(2, start + 5_000);
    await opened.clock.advance(10_000);
    await set(3, start + 12_000);
    await memory.updateMetric({ key: "other", value: 9, timestamp: start });
    await opened.close();
    opened = await openMemory(folder, opened.clock);
    ({ memory, query } = opened);
    expect(await memory.getMetric({ key: "cpu" })).toEqual({ key: "cpu", value: 3, timestamp: start + 12_000 });
    const history = async (fields: Partial<MetricHistoryQuery>) =>
      (await query.getMetricHistory(MetricHistoryQuery.fromPartial({ key: "cpu", ...fields }))).values.map(
        ({ value }) => value,
      );
    expect(await history({})).toEqual([3, 2]);
    expect(await history({ since: start + 6_000 })).toEqual([3]);
    expect(await history({ until: start + 6_000 })).toEqual([2]);
  });
});
