import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect } from "#lib/rpc/client";
import { operatorHeader, roleHeader } from "#lib/rpc/service";
import { AutonomyService } from "#proto/aios/autonomy";
import { EventJournalService } from "#proto/aios/journal";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { SessionsService } from "#proto/aios/sessions";
import {
  alice,
  answerOf,
  at,
  begin,
  client,
  close,
  end,
  execute,
  giveKey,
  heard,
  model,
  open,
  run,
  say,
  saying,
  serving,
  sessions,
  start,
  until,
} from "../testing/conversations.ts";

beforeAll(begin, 60_000);
afterAll(close);

describe("a conversation without a model that can think", () => {
  it("makes a goal of words that a procedure covers, and tells what came of it", async () => {
    const id = await open({ name: "reports" });
    const all = await say(id, `report memory usage to ${at("memory.txt")}`);
    expect(all.map(({ $case }) => $case)).toEqual(["said", "asked", "ended", "said", "over"]);
    expect(answerOf(all)).toMatch(/[\d.]+ % of \d+ MiB used/);
    expect(readFileSync(at("memory.txt"), "utf8")).toMatch(/^Memory usage/);
    const goals = await client(OrchestratorService, "orchestrator").listGoals({
      ...{ statusFilter: "", limit: 1, offset: 0, cursor: "" },
    });
    expect(goals.goals[0]).toMatchObject({ source: "operator:alice", tags: ["session"], status: "completed" });
    const view = await sessions.getSession({ id, branch: "" }, alice);
    expect(view).toMatchObject({ name: "reports", agent: "task", owner: "operator:alice", state: "idle" });
    expect(view.turns.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
    expect((await sessions.listSessions({ limit: 0, cursor: "" }, alice)).sessions[0]).toMatchObject({
      id,
      name: "reports",
    });
  });

  it("takes no word of who may do less than the person whose conversation it is", async () => {
    const as = (role: string) => ({ headers: { [operatorHeader]: "alice", [roleHeader]: role } });
    const { id } = await sessions.openSession({ agent: "task", level: "", name: "" }, as("admin"));
    const speak = async () => {
      for await (const _ of sessions.say(
        { sessionId: id, branch: "", text: "greet somebody", runId: "" },
        as("operator"),
      ))
        return;
    };
    await expect(speak()).rejects.toThrow("it is a conversation of one who is admin");
  });

  it("asks what a goal asks, and passes on the answer", async () => {
    const id = await open();
    expect(answerOf(await say(id, "greet somebody"))).toBe("Who is to be greeted?");
    expect(answerOf(await say(id, "Ada Lovelace"))).toBe("Greeted Ada Lovelace.");
    expect(readFileSync(at("greeting.txt"), "utf8")).toBe("hello Ada Lovelace");
    const other = await open();
    await say(other, "greet somebody");
    expect(answerOf(await say(other, "never mind"))).toBe("It is cancelled.");
    expect(readFileSync(at("greeting.txt"), "utf8")).toBe("hello Ada Lovelace");
  });

  it("says of anything else why it cannot, and what helps", async () => {
    const answer = answerOf(await say(await open(), "write me a poem about the sea"));
    expect(answer).toContain("no model here that could think");
    expect(answer).toMatch(/near it are .*aiosctl goal known/);
    expect(answer).toContain("aiosctl secrets set");
  });
});

describe("a conversation with a model", () => {
  beforeAll(giveKey);

  it("looks by the agent's tools, without asking; what they gave is told to the model as data", async () => {
    writeFileSync(at("note.txt"), "the cellar is wet");
    model.say(saying("I look.", ["fs.read", { path: at("note.txt") }]), saying("The cellar is wet."));
    const id = await open();
    const all = await say(id, "what does the note say?");
    expect(all.map(({ $case }) => $case)).toEqual(["said", "said", "asked", "ended", "said", "over"]);
    expect(answerOf(all)).toBe("The cellar is wet.");
    expect(JSON.stringify(model.requests.at(-1)?.body.messages)).toMatch(/<data-\w+ from=..tool..>.*the cellar is wet/);
    const [asked] = all.flatMap((one) => (one.$case === "asked" ? [one.value.callId] : []));
    const { entries } = await execute("sec.audit", { execution_id: asked });
    expect(entries).toMatchObject([{ caller: "task", caller_kind: "agent", tool: "fs.read", state: "done" }]);
    expect((await sessions.getSession({ id, branch: "" }, alice)).tokensLeft).toBeLessThan(1_000_000);
  });

  it("asks a person before it changes anything, who sees what would change; and leaves no grant", async () => {
    const path = at("shopping.txt");
    model.say(saying("", ["fs.write", { path, content: "milk\n" }]), saying("It is on the list."));
    const seen: string[] = [];
    const all = await say(await open(), "put milk on the list", async (what) => {
      if (what.$case !== "waits") return;
      const { waiting } = await execute("sec.approvals", {});
      seen.push(...waiting.map(({ preview }: { preview: string }) => preview));
      expect(waiting).toMatchObject([{ id: what.value.approvalId, agent_id: "task", tool: "fs.write" }]);
      expect(existsSync(path)).toBe(false);
      await execute("sec.approve", { id: what.value.approvalId, digest: waiting[0].digest });
    });
    expect(seen).toEqual([expect.stringContaining("+milk")]);
    expect(answerOf(all)).toBe("It is on the list.");
    expect(readFileSync(path, "utf8")).toBe("milk\n");
    expect(await execute("sec.capabilities", { agent_id: "task" })).toEqual({ capabilities: [] });
  });

  it("is told no, with the reason", async () => {
    model.say(saying("", ["fs.write", { path: at("no.txt"), content: "x" }]), saying("Then not."));
    const all = await say(await open(), "write no", async (what) => {
      if (what.$case === "waits") await execute("sec.deny", { id: what.value.approvalId, reason: "not today" });
    });
    expect(all).toContainEqual({
      $case: "ended",
      value: expect.objectContaining({ status: "error", error: expect.stringContaining("not today") }),
    });
    expect(existsSync(at("no.txt"))).toBe(false);
  });

  it("makes no goal of other words than the person's, and calls no tool that its agent has not", async () => {
    model.say(
      saying("", ["goal.give", { description: `create file ${at("evil.txt")} with content evil` }]),
      saying("I may not."),
    );
    const all = await say(await open(), "tidy up a little");
    expect(all).toContainEqual({
      $case: "ended",
      value: expect.objectContaining({ tool: "goal.give", error: expect.stringContaining("word for word") }),
    });
    expect(answerOf(all)).toBe("I may not.");
    expect(existsSync(at("evil.txt"))).toBe(false);
    const before = model.requests.length;
    model.say(saying("", ["fs.write", { path: at("evil.txt"), content: "x" }]), saying("Neither."));
    await say(await open({ agent: "network" }), "tidy up a little");
    expect(model.requests.length).toBeGreaterThan(before);
    expect(existsSync(at("evil.txt"))).toBe(false);
  });

  it("goes on after the orchestrator was killed while a person is asked: the call is made once", async () => {
    const path = at("lines.txt");
    writeFileSync(path, "");
    model.say(saying("", ["fs.append", { path, content: "once\n" }]), saying("Added."));
    const id = await open();
    const waits = Promise.withResolvers<string>();
    const cut = say(id, "add a line", (what) => what.$case === "waits" && waits.resolve(what.value.approvalId));
    cut.catch(() => {});
    const approval = await waits.promise;
    await end("orchestrator", "SIGKILL");
    await expect(cut).rejects.toThrow();
    start("orchestrator");
    await serving();
    const [{ digest }] = (await execute("sec.approvals", {})).waiting;
    await until(async () => await execute("sec.approve", { id: approval, digest }));
    const all = await until(
      async () => await heard(sessions.followSession({ sessionId: id, branch: "", afterSequence: 0 }, alice)),
    );
    expect(answerOf(all)).toBe("Added.");
    expect(readFileSync(path, "utf8")).toBe("once\n");
    const { events } = await client(EventJournalService, "memory").read({
      ...{ sessionId: id, branchId: "main", fromSequence: 1, limit: 500 },
    });
    const kinds = events.map(({ eventJson }) => JSON.parse(String(eventJson)).kind.type);
    expect(kinds.filter((kind) => kind === "ToolCallStarted")).toHaveLength(1);
    expect(await execute("sec.verify_ledger", {})).toMatchObject({ valid: true, problems: [] });
  }, 60_000);

  it("can be interrupted: what waits for a person is not done", async () => {
    model.say(saying("", ["fs.write", { path: at("stopped.txt"), content: "x" }]));
    const id = await open();
    const all = await say(id, "write it", async (what) => {
      if (what.$case === "waits") await sessions.interruptSession({ id, branch: "" }, alice);
    });
    expect(all.at(-1)).toMatchObject({
      $case: "over",
      value: { status: "finished", reason: expect.stringMatching(/interrupted/) },
    });
    expect(existsSync(at("stopped.txt"))).toBe(false);
    await sessions.closeSession({ id, branch: "" }, alice);
    await expect(say(id, "still there?")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("is ended by an emergency stop, and nothing is begun until it is over", async () => {
    const autonomy = client(AutonomyService, "orchestrator");
    model.say(saying("", ["fs.write", { path: at("late.txt"), content: "x" }]));
    const id = await open();
    const all = await say(id, "write it late", async (what) => {
      if (what.$case === "waits") await autonomy.emergencyStop({ reason: "the test" }, alice);
    });
    expect(all.at(-1)).toMatchObject({ $case: "over", value: { reason: expect.stringContaining("stopped") } });
    await expect(say(id, "now?")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await autonomy.emergencyResume({}, alice);
    expect(existsSync(at("late.txt"))).toBe(false);
  });
});

describe("bad requests", () => {
  it("are refused with what is wrong", async () => {
    const refused = async (act: Promise<unknown>, code: string, message: RegExp) =>
      await expect(act).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    await refused(open({ agent: "cook" }), "NOT_FOUND", /agent cook: there are dev, monitor/);
    await refused(open({ level: "genius" }), "INVALID_ARGUMENT", /operational, tactical, strategic/);
    await refused(open({ name: "x".repeat(201) }), "INVALID_ARGUMENT", /at most 200/);
    await refused(say("0193aaaa-0000-7000-8000-000000000000", "hello"), "NOT_FOUND", /aiosctl chat list/);
    await refused(say("", "hello"), "INVALID_ARGUMENT", /it is empty/);
    await refused(say(await open(), ""), "INVALID_ARGUMENT", /1 to 65536 characters/);
    const agent = connect(SessionsService, `unix:${run}/agents/task/orchestrator.sock`);
    await refused(agent.openSession({ agent: "", level: "", name: "" }), "PERMISSION_DENIED", /not for agent:task/);
    agent.close();
  });
});
