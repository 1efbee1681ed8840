import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AiosError } from "#lib/errors";
import { service } from "#lib/rpc/service";
import { GoalControlService, GoalView } from "#proto/aios/goal_control";
import { Session, SessionEvent, SessionsService } from "#proto/aios/sessions";
import { ToolRegistryService } from "#proto/aios/tools";
import { openPrompt } from "../input.ts";
import { init, openTwin, type Twin } from "../testing/twins.ts";

let twin: Twin;
let asked: unknown[];
beforeEach(async () => {
  twin = openTwin();
  asked = [];
  await twin.daemon("init", init());
});
afterEach(() => twin.close());

type What = NonNullable<SessionEvent["happening"]>;
const event = (happening: What) => SessionEvent.fromPartial({ happening });
const over = (status = "finished", reason = "completed") =>
  event({ $case: "over", value: { runId: "r", status, reason, answer: "" } });
const said = (content: string) => event({ $case: "said", value: { role: "assistant", content } });
const call = (tool: string, input: object) =>
  event({ $case: "asked", value: { callId: "c", tool, inputJson: Buffer.from(JSON.stringify(input)) } });
const ended = (tool: string, error = "") =>
  event({ $case: "ended", value: { callId: "c", tool, status: "ok", outputJson: Buffer.alloc(0), error } });
const waits = event({ $case: "waits", value: { callId: "c", approvalId: "a" } });

const session = Session.fromPartial({ id: "s1", agent: "task", owner: "operator:alice", state: "idle", createdAt: 1 });

/** What is replayed. */
const happened: readonly What[] = [
  { $case: "said", value: { role: "user", content: "how full?\nand why?" } },
  { $case: "asked", value: { callId: "c", tool: "monitor.disk", inputJson: Buffer.from("{}") } },
  {
    $case: "ended",
    value: { callId: "c", tool: "monitor.disk", status: "error", outputJson: Buffer.alloc(0), error: "no disk" },
  },
  { $case: "trouble", value: "the model is away" },
  { $case: "said", value: { role: "assistant", content: "Half." } },
  { $case: "checkpoint", value: "k" },
  { $case: "forked", value: "try" },
  { $case: "rewound", value: 9 },
];

/** An orchestrator whose sessions say what the test wants, turn by turn. */
async function orchestrator(...turns: readonly (readonly SessionEvent[])[]): Promise<void> {
  const left = [...turns];
  const watched = Promise.withResolvers<void>();
  const sessions = service(SessionsService, {
    openSession: (request) => {
      asked.push({ open: request });
      return session;
    },
    getSession: ({ id, branch }) => ({
      ...session,
      id,
      branch,
      branches: ["main", "try"],
      turns: [
        { role: "user", content: "how full?" },
        { role: "assistant", content: '{"tool_call":{"tool":"monitor.disk"}}' },
        { role: "tool", content: '{"tool":"monitor.disk"}' },
        { role: "assistant", content: "Half.\nNearly." },
      ],
    }),
    listSessions: () => ({ sessions: [{ ...session, name: "disks" }], nextCursor: "" }),
    say: async function* (request) {
      const { text: said, sessionId, branch } = request;
      asked.push({ say: said, session: sessionId, ...(branch !== "" && { branch }) });
      for (const one of left.shift() ?? []) {
        yield one;
        if (one.happening?.$case === "asked" && one.happening.value.tool === "goal.give") await watched.promise;
      }
    },
    closeSession: () => ({ success: true, message: "it is closed" }),
    forkSession: (request) => {
      asked.push({ fork: request });
      return { ...session, branch: request.name || "fork-1", head: request.atSequence || 40 };
    },
    rewindSession: (request) => {
      if (request.toSequence === 12)
        throw new AiosError("NOT_FOUND", "rewind session s1 to event 12: it is no checkpoint");
      asked.push({ rewind: request });
      return { ...session, branch: "main", head: 41, turns: [{ role: "user", content: "how full?" }] };
    },
    async *replaySession(request) {
      asked.push({ replay: request });
      for (const [at, happening] of happened.entries())
        yield { part: { $case: "event" as const, value: SessionEvent.fromPartial({ sequence: 4 + at, happening }) } };
      yield { part: { $case: "state" as const, value: { ...session, branch: "main", head: 40, tokensLeft: 9 } } };
    },
  });
  const control = service(GoalControlService, {
    async *watchGoal() {
      yield GoalView.fromPartial({
        plan: { origin: "procedure disk-report", level: "reactive" },
        tasks: [{ id: "t", description: "Look", assignedAgent: "monitor", status: "in_progress", requiredTools: [] }],
      });
      setTimeout(watched.resolve, 100);
    },
  });
  await twin.daemon("orchestrator", sessions, control);
}

/** The tools, where one call waits. */
async function tools(): Promise<void> {
  const ticket = {
    ...{ id: "a", agent_id: "task", tool: "fs.write", risk: "medium", reason: "asked for", input: "{}" },
    ...{ preview: "--- /x\n+milk", undo: "a rollback", digest: "d1", expires_at: 1 },
  };
  const answer = (output: unknown) => ({
    ...{ success: true, error: "", executionId: "e", durationMs: 1, backupId: "" },
    outputJson: Buffer.from(JSON.stringify(output)),
  });
  const registry = service(ToolRegistryService, {
    execute: ({ toolName, inputJson }) => {
      if (toolName === "sec.approvals") return answer({ waiting: [ticket] });
      asked.push({ [toolName]: JSON.parse(String(inputJson)) });
      return answer({ success: true, error: "", output: "{}" });
    },
  });
  await twin.daemon("tools", registry);
}

describe("chat MESSAGE", () => {
  it("shows the calls, what the agent says, and the session to go on with", async () => {
    await orchestrator([call("fs.read", { path: "/x" }), ended("fs.read"), said("It says\nhello."), over()]);
    const { code, out, error } = await twin.aiosctl("chat", "what does /x say?", "--level", "strategic");
    expect({ code, out }).toEqual({ code: 0, out: '  ▶ fs.read {"path":"/x"}\n  ✓ fs.read\nIt says\nhello.\n' });
    expect(error).toContain("session s1; go on with it by --session");
    expect(asked).toEqual([
      { open: { agent: "", level: "strategic", name: "what does /x say?" } },
      { say: "what does /x say?", session: "s1" },
    ]);
  });

  it("shows a goal's plan and tasks beside, and what it asks as the agent's own words", async () => {
    await orchestrator([call("goal.give", {}), ended("goal.give"), said("Which port?"), over()]);
    const { out } = await twin.aiosctl("chat", "set up a proxy");
    expect(out).toMatch(/ {2}▶ as a goal of the machine\nplanned by procedure disk-report \(reactive\) as 1 task\n/);
    expect(out).toMatch(/ {2}monitor: Look: in progress\nWhich port\?\n$/);
  });

  it("goes on with a session, and reads what is said from a pipe", async () => {
    await orchestrator([said("Yes."), over()]);
    const { code, out, error } = await twin.aiosctlWith({ input: "really?\n" }, "chat", "--session", "s2");
    expect({ code, out, error }).toEqual({ code: 0, out: "Yes.\n", error: "" });
    expect(asked).toEqual([{ say: "really?", session: "s2" }]);
  });

  it("says where nobody can be asked how to decide, and fails when the agent has no answer", async () => {
    await orchestrator([
      call("fs.write", {}),
      waits,
      ended("fs.write", "nobody answered in time"),
      over("errored", "no model"),
    ]);
    const { code, out, error } = await twin.aiosctl("chat", "write it");
    expect(code).toBe(1);
    expect(out).toContain("✗ fs.write: nobody answered in time");
    expect(error).toMatch(/aiosctl approvals show a\n(.*\n)*it failed: no model/);
  });

  it("is events in JSON", async () => {
    await orchestrator([said("Yes."), over()]);
    const { out } = await twin.aiosctl("chat", "well?", "--json");
    const events = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).happening);
    expect(events).toMatchObject([{ $case: "said" }, { $case: "over", value: { reason: "completed" } }]);
  });

  it("is refused when nothing is said, or an agent is named for a session that is there", async () => {
    await orchestrator();
    expect(await twin.aiosctlWith({ input: " \n" }, "chat")).toMatchObject({ code: 2 });
    expect(await twin.aiosctl("chat", "x", "--session", "s", "--agent", "dev")).toMatchObject({
      code: 2,
      error: expect.stringContaining("for a new session"),
    });
  });
});

describe("chat at a terminal", () => {
  const talking = (...lines: readonly string[]) => {
    const left = [...lines];
    const questions: string[] = [];
    const ask = async (question: string) => {
      questions.push(question);
      return left.shift();
    };
    return { questions, ask };
  };

  it("is one message and one answer after the other, until an empty line", async () => {
    await orchestrator([said("One."), over()], [said("Two."), over()]);
    const { ask, questions } = talking("first", "second", "");
    const { code, out } = await twin.aiosctlWith({ ask }, "chat");
    expect({ code, out }).toEqual({
      code: 0,
      out: "the task agent of this machine listens; an empty line or Ctrl-D ends it\nOne.\nTwo.\n",
    });
    expect(questions).toHaveLength(3);
  });

  it.each([
    ["y", { "sec.approve": { id: "a", digest: "d1" } }],
    ["no, not on this disk", { "sec.deny": { id: "a", reason: "not on this disk" } }],
    ["", { "sec.deny": { id: "a" } }],
  ])("asks about a change with what it would change: %j", async (answer, decision) => {
    await tools();
    await orchestrator([call("fs.write", {}), waits, ended("fs.write"), said("Done."), over()]);
    const { ask, questions } = talking("write it", answer);
    const { out } = await twin.aiosctlWith({ ask }, "chat");
    expect(out).toContain("  task asks for fs.write, medium risk");
    expect(out).toContain("  +milk\n");
    expect(questions[1]).toContain("allow it?");
    expect(asked).toContainEqual(decision);
  });
});

describe("sessions", () => {
  it("are listed, shown and closed", async () => {
    await orchestrator();
    expect((await twin.aiosctl("chat", "list")).out).toMatch(/s1 .*task .*operator:alice .*idle .*disks/);
    const { out } = await twin.aiosctl("chat", "show", "s1");
    expect(out).toMatch(/\n> how full\?\n {2}▶ \{"tool_call".*\n {2}\{"tool".*\n\nHalf\.\nNearly\.\n$/);
    expect(out).toContain("\nbranches: main, try\n");
    expect((await twin.aiosctl("chat", "close", "s1")).out).toBe("it is closed\n");
  });
});

describe("branches of a session", () => {
  it("are forked off at an event, and spoken on", async () => {
    await orchestrator([said("Yes."), over()]);
    expect(await twin.aiosctl("chat", "fork", "s1", "--at", "37", "--name", "try")).toMatchObject({
      code: 0,
      out: [
        "branch try is made, as it stood at event 37; what was done stays done",
        "speak on it: aiosctl chat --session s1 --branch try\n",
      ].join("\n"),
    });
    expect((await twin.aiosctl("chat", "well?", "--session", "s1", "--branch", "try")).out).toBe("Yes.\n");
    expect(asked).toEqual([
      { fork: { sessionId: "s1", branch: "", atSequence: 37, name: "try" } },
      { say: "well?", session: "s1", branch: "try" },
    ]);
    const { out } = await twin.aiosctl("chat", "fork", "s1", "--branch", "try", "--json");
    expect(JSON.parse(out)).toMatchObject({ id: "s1", branch: "fork-1", head: 40 });
    expect(asked.at(-1)).toEqual({ fork: { sessionId: "s1", branch: "try", atSequence: 0, name: "" } });
  });

  it("are rewound to a checkpoint, or it is said why not", async () => {
    await orchestrator();
    expect(await twin.aiosctl("chat", "rewind", "s1", "9")).toMatchObject({
      code: 0,
      out: "the agent has in mind what it had at event 9: 1 turn\n",
    });
    expect(asked).toEqual([{ rewind: { sessionId: "s1", branch: "", toSequence: 9 } }]);
    const { out } = await twin.aiosctl("chat", "rewind", "s1", "9", "--json");
    expect(JSON.parse(out)).toMatchObject({ head: 41, turns: [{ content: "how full?" }] });
    expect(await twin.aiosctl("chat", "rewind", "s1", "12")).toMatchObject({
      code: 1,
      error: expect.stringContaining("event 12: it is no checkpoint"),
    });
  });

  it("are replayed event by event, with how it stood then", async () => {
    await orchestrator();
    const { code, out } = await twin.aiosctl("chat", "replay", "s1", "--to", "40");
    expect(code).toBe(0);
    expect(out.split("\n")).toEqual([
      "    4  > how full?",
      "       and why?",
      "    5    ▶ monitor.disk {}",
      "    6    ✗ monitor.disk: no disk",
      "    7    ! the model is away",
      "    8  Half.",
      "    9    · checkpoint",
      "   10    ⑂ branch try is forked off",
      "   11    ⟲ rewound to event 9",
      "at event 40 of branch main, idle: 0 turns in mind, 9 tokens, 0.00 US dollars and 0 calls left",
      "",
    ]);
    expect(asked).toEqual([{ replay: { sessionId: "s1", branch: "", toSequence: 40 } }]);
    const documents = (await twin.aiosctl("chat", "replay", "s1", "--json")).out.trim().split("\n");
    expect(documents.map((line) => JSON.parse(line).part.$case)).toEqual([
      ...Array.from({ length: happened.length }, () => "event"),
      "state",
    ]);
  });

  it.each([
    [["chat", "fork"], "chat fork"],
    [["chat", "fork", "s1", "--at", "0"], "--at 0: expected a whole number from 1"],
    [["chat", "rewind", "s1"], "chat rewind"],
    [["chat", "rewind", "s1", "last"], 'EVENT last: expected a whole number from 1 on, as "aiosctl chat replay"'],
    [["chat", "replay", "s1", "--to", "x"], "--to x: expected a whole number"],
    [["chat", "well?", "--branch", "try"], "give --session too"],
  ])("need what they are asked with: %j", async (words, error) => {
    await orchestrator();
    expect(await twin.aiosctl(...words)).toMatchObject({ code: 2, error: expect.stringContaining(error) });
    expect(asked).toEqual([]);
  });
});

describe("a prompt", () => {
  it("gives lines as they were typed, also those typed ahead, and undefined at the end", async () => {
    const input = new PassThrough();
    const prompt = openPrompt(input, new PassThrough(), () => {});
    const first = prompt.ask("> ");
    input.write("one\ntwo\n");
    expect([await first, await prompt.ask("> ")]).toEqual(["one", "two"]);
    const last = prompt.ask("> ");
    input.end();
    expect(await last).toBeUndefined();
  });

  it("tells of Ctrl-C", async () => {
    const input = new PassThrough();
    let interrupted = 0;
    const prompt = openPrompt(input, new PassThrough(), () => (interrupted += 1));
    const asked = prompt.ask("> ");
    input.write("\u0003");
    expect(await asked).toBeUndefined();
    expect(interrupted).toBe(1);
  });
});
