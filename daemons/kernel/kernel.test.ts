import { beforeEach, describe, expect, test } from "vitest";
import { AiosError } from "#lib/errors";
import { defaultBudget } from "./limits.ts";
import { callOf, config, say, use, Workbench } from "./testing/workbench.ts";

let bench: Workbench;

beforeEach(async () => {
  bench = await Workbench.make();
});

describe("a tick", () => {
  test("goes through its phases, each step in the journal", async () => {
    bench.answers = [() => use(callOf("fs.read", { path: "/a" })), () => say("it is empty")];
    const done = await bench.tick("what is in /a?");
    expect(done).toMatchObject({ status: "finished", reason: "completed", iterations: 2, answer: "it is empty" });
    expect(bench.names()).toMatchInlineSnapshot(`
      [
        "SessionCreated",
        "aios.run_requested",
        "ModeChanged",
        "UserMessage",
        "perceive",
        "StateEstimated",
        "RunStarted",
        "deliberate",
        "StepStarted",
        "aios.model_completed",
        "DeliberationProposed",
        "gate",
        "ToolCallRequested",
        "aios.gate_evaluated",
        "PolicyEvaluated",
        "execute",
        "ToolCallStarted",
        "ToolCallCompleted",
        "ModeChanged",
        "commit",
        "StepFinished",
        "deliberate",
        "StepStarted",
        "aios.model_completed",
        "DeliberationProposed",
        "Message",
        "commit",
        "StepFinished",
        "reflect",
        "RunFinished",
        "ModeChanged",
        "BudgetUpdated",
        "StateEstimated",
        "CheckpointCreated",
        "Heartbeat",
        "sleep",
      ]
    `);
    expect(bench.tools.effects).toHaveLength(1);
  });
});

describe("the gate", () => {
  test("sees what the tool needs, also when the model asks for nothing", async () => {
    bench.gate = (capability) => (capability === "fs:write:/a" ? "denied" : "allowed");
    bench.answers = [() => use(callOf("fs.write", {}, ["fs:read:/b"])), () => say("then not")];
    const done = await bench.tick("write");
    expect(done).toMatchObject({ status: "finished", outcomes: [{ status: "refused", error: "denied: fs:write:/a" }] });
    expect(bench.tools.effects).toEqual([]);
    expect(bench.all("PolicyEvaluated")).toMatchObject([{ decision: "deny", explanation: "denied: fs:write:/a" }]);
    expect(bench.all("ToolCallFailed")).toHaveLength(1);
  });

  test("sees what the model asks for, also when the tool does not need it", async () => {
    bench.gate = (capability) => (capability === "secrets:read:all" ? "denied" : "allowed");
    bench.answers = [() => use(callOf("fs.read", {}, ["secrets:read:all"])), () => say("no")];
    await bench.tick("read");
    expect(bench.tools.effects).toEqual([]);
  });

  test("lets nothing through of which it does not speak", async () => {
    bench.gate = () => "nothing" as "denied";
    bench.answers = [() => use(callOf("fs.read")), () => say("no")];
    await bench.tick("read");
    expect(bench.all("PolicyEvaluated")).toMatchObject([{ decision: "deny" }]);
    expect(bench.tools.effects).toEqual([]);
  });

  test("an unknown tool, and one that the session does not have, are refused by rule", async () => {
    await bench.kernel.createSession("t", "narrow", { ...config, allowed_tools: ["fs.read"] });
    bench.answers = [() => use(callOf("rm.all"), callOf("fs.write")), () => say("no")];
    await bench.kernel.tick({ session: "t", objective: "x", actor: "alice" });
    const rules = bench.journal
      .read("t", "main")
      .flatMap(({ kind }) => (kind.type === "PolicyEvaluated" ? [kind.rule_id] : []));
    expect(rules).toEqual(["tool", "allowed-tools"]);
    expect(bench.asked[0]?.allowed_tools).toEqual(["fs.read"]);
  });
});

describe("an approval", () => {
  beforeEach(() => {
    bench.gate = (capability) => (capability.startsWith("fs:write") ? "requires_approval" : "allowed");
  });
  const ticket = () => bench.approvals.pending()[0]?.approval_id ?? "";

  test("carries out exactly the call that was asked, once, after a restart and on its branch", async () => {
    bench.answers = [() => say("hello")];
    await bench.tick("hi");
    await bench.kernel.fork("s", "main", "try");
    bench.answers = [() => use(callOf("fs.write", { path: "/a" })), () => say("written")];
    expect(await bench.tick("write", { branch: "try" })).toMatchObject({ status: "waiting" });
    expect(bench.tools.effects).toEqual([]);
    expect((await bench.kernel.state("s", "try")).mode).toBe("ask_human");
    bench.kernel.close();
    bench.kernel = bench.start();
    expect(await bench.kernel.resume("s")).toMatchObject([
      { branch: "main", standing: { status: "idle" } },
      { branch: "try", standing: { status: "waiting" } },
    ]);
    const id = ticket();
    const resolution = await bench.kernel.resolveApproval("s", id, true, "bob");
    expect(resolution).toMatchObject({ approved: true, branch: "try", actor: "bob" });
    expect(await resolution.done).toMatchObject({ status: "idle", last: { answer: "written" } });
    expect(bench.tools.effects).toMatchObject([{ tool_name: "fs.write", input: { path: "/a" } }]);
    expect(bench.all("ToolCallStarted", "main")).toEqual([]);
    const again = await bench.kernel.resolveApproval("s", id, false, "eve");
    await again.done;
    expect(again).toMatchObject({ approved: true, actor: "bob" });
    expect(bench.tools.effects).toHaveLength(1);
    expect(bench.approvals.pending()).toEqual([]);
  });

  test("denied: the call is not made, and the model hears of it", async () => {
    bench.answers = [() => use(callOf("fs.write")), () => say("pity")];
    await bench.tick("write");
    const { done } = await bench.kernel.resolveApproval("s", ticket(), false, "bob");
    expect(await done).toMatchObject({ last: { outcomes: [{ error: "a person denied it: fs:write:/a" }] } });
    expect(bench.tools.effects).toEqual([]);
    expect(bench.asked.at(-1)?.conversation_history.at(-1)).toMatchObject({ role: "tool" });
  });

  test("nobody answers: it is refused in time, by itself", async () => {
    bench.answers = [() => use(callOf("fs.write")), () => say("late")];
    await bench.tick("write");
    await bench.clock.advance(bench.limits.approvalTimeoutMs + 1);
    expect(bench.all("ApprovalResolved")).toMatchObject([{ decision: "timeout" }]);
    expect((await bench.kernel.state("s")).runs.at(-1)).toMatchObject({ reason: "completed" });
  });

  test("does not help against a policy that has become stricter", async () => {
    bench.answers = [() => use(callOf("fs.write")), () => say("no")];
    await bench.tick("write");
    bench.gate = () => "denied";
    await (await bench.kernel.resolveApproval("s", ticket(), true, "bob")).done;
    expect(bench.tools.effects).toEqual([]);
    expect(bench.all("PolicyEvaluated").map(({ decision }) => decision)).toEqual(["require_approval", "deny"]);
  });

  test("one that nobody asked for is not found", async () => {
    await expect(bench.kernel.resolveApproval("s", "other", true, "bob")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("cancelling the run takes the question back", async () => {
    bench.answers = [() => use(callOf("fs.write"))];
    await bench.tick("write");
    expect(await bench.kernel.cancel("s", "main", "stop", "carol")).toMatchObject({
      last: { reason: "cancelled: stop (carol)" },
    });
    expect(bench.approvals.pending()).toEqual([]);
  });
});

describe("limits", () => {
  test("the loop guard remarks on the third same call and refuses the fifth", async () => {
    const same = () => use(callOf("fs.read", { path: "/a" }));
    bench.answers = [same, same, same, same, same, () => say("enough")];
    await bench.tick("look again and again");
    const told = bench.all("PolicyEvaluated").map(({ decision, rule_id }) => [decision, rule_id]);
    expect(told).toEqual([
      ["allow", undefined],
      ["allow", undefined],
      ["allow", "loop-guard"],
      ["allow", "loop-guard"],
      ["deny", "loop-guard"],
    ]);
    expect(bench.tools.effects).toHaveLength(4);
  });

  test("three errors in a row trip the breaker; after it a changing call waits until a reading one succeeds", async () => {
    bench.runTool = () => {
      throw new Error("broken");
    };
    const fail = (path: string) => () => use(callOf("fs.read", { path }));
    bench.answers = [fail("/1"), fail("/2"), fail("/3")];
    expect(await bench.tick("x")).toMatchObject({
      status: "errored",
      reason: expect.stringContaining("circuit breaker: 3 errors"),
    });
    expect(bench.all("CircuitBreakerTripped")).toMatchObject([{ error_streak: 3, reason: "fs.read: Error: broken" }]);
    expect((await bench.kernel.state("s")).mode).toBe("recover");
    bench.runTool = () => null;
    bench.answers = [() => use(callOf("fs.read"), callOf("fs.write")), () => say("well again")];
    expect(await bench.tick("y")).toMatchObject({
      reason: "completed",
      outcomes: [{ status: "ok" }, { status: "ok" }],
    });
    expect(bench.all("ModeChanged").map(({ to }) => to)).toContain("recover");
  });

  test.each([
    ["tokens", { tokens_remaining: 10 }],
    ["cost", { cost_remaining_usd: 0.5 }],
    ["tool calls", { tool_calls_remaining: 0 }],
    ["errors", { error_budget_remaining: 0 }],
    ["time", { time_remaining_ms: 0 }],
  ])("a run ends when its %s are used up", async (what, less) => {
    bench.cost = 0.5;
    await bench.kernel.createSession("poor", "poor", { ...config, budget: { ...defaultBudget, ...less } });
    bench.answers = [() => use(callOf("fs.read")), () => use(callOf("fs.read"))];
    const done = await bench.kernel.tick({ session: "poor", objective: "x", actor: "alice" });
    expect(done).toMatchObject({ status: "finished", reason: `budget: ${what} used up` });
    const budget = { ...(await bench.kernel.state("poor")).budget };
    expect(bench.journal.read("poor", "main").find(({ kind }) => kind.type === "BudgetUpdated")?.kind).toMatchObject({
      budget,
    });
    await bench.kernel.setBudget("poor", "main", defaultBudget, "granted by alice");
    bench.answers = [() => say("rich")];
    expect(await bench.kernel.tick({ session: "poor", objective: "x", actor: "alice" })).toMatchObject({
      answer: "rich",
    });
  });

  test("a model that never comes to an end is ended", async () => {
    bench.limits = { ...bench.limits, iterationsMax: 3 };
    bench.kernel = bench.start();
    const more = (n: number) => () => use(callOf("fs.read", { path: `/${n}` }));
    bench.answers = [more(1), more(2), more(3)];
    expect(await bench.tick("x")).toMatchObject({ reason: "max_iterations", iterations: 3 });
  });

  test("a model that is away is asked three times", async () => {
    const done = bench.tick("x");
    await bench.clock.advance(1);
    expect(await done).toMatchObject({ status: "errored", reason: expect.stringContaining("circuit breaker") });
    expect(bench.all("ErrorRaised")).toHaveLength(3);
  });

  test("goes on by itself when the journal was away after it had taken it up", async () => {
    let away = false;
    const port = bench.journal.port.bind(bench.journal);
    bench.journal.port = (wire) => {
      const journal = port(wire);
      const append: typeof journal.append = (event) => {
        if (event.kind.type === "UserMessage" && away) throw new AiosError("UNAVAILABLE", "the journal is away");
        return journal.append(event);
      };
      return { ...journal, append };
    };
    bench.kernel = bench.start();
    bench.answers = [() => say("back")];
    away = true;
    const { done } = await bench.kernel.submit({ session: "s", runId: "r", objective: "x", actor: "alice" });
    const failed = expect(done).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await bench.clock.advance(1);
    await failed;
    away = false;
    await bench.clock.advance(bench.limits.stalledMs + 1);
    expect((await bench.kernel.state("s")).runs).toMatchObject([{ runId: "r", answer: "back" }]);
  });

  test("is cancelled while the model thinks, at once", async () => {
    const thinking = Promise.withResolvers<never>();
    bench.answers = [() => thinking.promise as never];
    const { done } = await bench.kernel.submit({ session: "s", objective: "x", actor: "alice" });
    await bench.kernel.cancel("s", "main", "stop", "carol");
    expect(await done).toMatchObject({ status: "finished", reason: "cancelled: stop (carol)" });
  });
});
