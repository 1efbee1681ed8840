import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openKernel } from "#kernel/kernel";
import { defaultBudget, defaultLimits, defaultPolicy } from "#kernel/limits";
import type { ModelProvider, Ports } from "#kernel/ports";
import { ApprovalsTwin, straight } from "#kernel/testing/twins";
import { systemClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import { connect } from "#lib/rpc/client";
import { compiled } from "#lib/testing/compiled";
import { openPeer } from "#lib/testing/sockets";
import { EventJournalService } from "#proto/aios/journal";
import { ToolRegistryService } from "#proto/aios/tools";
import type { Thinker, Thought } from "../../plans/model-source.ts";
import { harnessOver } from "./harness.ts";
import { journalOver } from "./journal.ts";
import { modelOver } from "./model.ts";
import { policyGate } from "./policy-gate.ts";

/** The kernel over aios-memory and aios-tools as they are on the machine, each its own process behind its own socket. */

const here = (path: string) => new URL(path, import.meta.url).pathname;
const folder = mkdtempSync("/tmp/aios-adapters-");
const children = new Map<string, ChildProcess>();
const closers: (() => void)[] = [];

function start(daemon: string): void {
  openPeer(`${folder}/run`, daemon, "orchestrator");
  const child = spawn(process.execPath, [here(`../../../${daemon}/main.ts`)], {
    stdio: ["ignore", "ignore", openSync(`${folder}/${daemon}.log`, "a")],
    env: {
      ...compiled,
      AIOS_RUN_DIR: `${folder}/run`,
      AIOS_ETC_DIR: here("../../../../rootfs/etc/aios"),
      AIOS_LIB_DIR: `${folder}/lib`,
      AIOS_STATE_DIR: `${folder}/state`,
    },
  });
  children.set(daemon, child);
}

async function end(daemon: string, signal: NodeJS.Signals): Promise<void> {
  const child = children.get(daemon);
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

async function until(what: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await what();
      return;
    } catch (error) {
      if (tries > 300) throw error;
      await systemClock.sleep(50);
    }
  }
}

const nobody: ModelProvider = { complete: () => Promise.reject(new Error("no model here")) };

/** A kernel with clients of its own, as after a restart; `change` puts something in the place of a port. */
function kernelWith({ model = nobody, change = (ports: Ports) => ports } = {}) {
  const journalClient = connect(EventJournalService, `unix:${openPeer(`${folder}/run`, "memory", "orchestrator")}`);
  const toolsClient = connect(ToolRegistryService, `unix:${openPeer(`${folder}/run`, "tools", "orchestrator")}`);
  closers.push(
    () => journalClient.close(),
    () => toolsClient.close(),
  );
  const journal = journalOver(journalClient);
  const ports: Ports = {
    journal,
    model,
    tools: harnessOver(toolsClient, { agent: "orchestrator", task: "t", newId: () => uuidv7(systemClock.now()) }),
    gate: policyGate(),
  };
  const id = () => uuidv7(systemClock.now());
  const limits = { ...defaultLimits, stalledMs: 200 };
  const kernel = openKernel({ ports: change(ports), clock: systemClock, limits, id });
  closers.push(() => kernel.close());
  return { kernel, ports, toolsClient };
}

const config = {
  agent_id: "system",
  owner: "alice",
  workspace_root: "/",
  policy: {
    ...defaultPolicy,
    allow_capabilities: ["read", "write", "append"].map((action) => `fs:${action}:${folder}/data/**`),
    gate_capabilities: [`fs:write:${folder}/data/gated/**`],
  },
  budget: defaultBudget,
};
const call = (tool_name: string, input: Record<string, string>) => ({
  proposedTool: { call_id: "", tool_name, input, requested_capabilities: [] },
  objective: `${tool_name} ${input["path"]}`,
  actor: "alice",
});
const path = (name: string) => `${folder}/data/${name}`;
const text = (name: string) => readFileSync(path(name), "utf8");

beforeAll(async () => {
  for (const made of ["run/agents", "lib", "data/gated", "state"]) mkdirSync(`${folder}/${made}`, { recursive: true });
  const memory = {
    operational_max_entries: 100,
    working_db: `${folder}/state/memory/working.db`,
    longterm_db: `${folder}/state/memory/longterm.db`,
    vector_db: `${folder}/state/vectors`,
  };
  const system = { hostname: "t", log_level: "info", autonomy_level: "full" };
  writeFileSync(`${folder}/run/config.json`, JSON.stringify({ system, memory }));
  for (const daemon of ["memory", "tools"]) start(daemon);
  const { ports, toolsClient } = kernelWith();
  await until(() => ports.journal.head("none", "main"));
  await until(() => toolsClient.listTools({ namespace: "fs" }));
});

afterAll(async () => {
  for (const close of closers) close();
  for (const daemon of children.keys()) await end(daemon, "SIGTERM");
  rmSync(folder, { recursive: true });
});

describe("a kernel on the machine's daemons", () => {
  it("runs a call, journals it in aios-memory, and replays to the same state", async () => {
    const { kernel } = kernelWith();
    await kernel.createSession("first", "first", config);
    const done = await kernel.tick({ session: "first", ...call("fs.write", { path: path("a"), content: "hello" }) });
    expect(done).toMatchObject({ status: "finished", reason: "completed", outcomes: [{ status: "ok" }] });
    expect(text("a")).toBe("hello");
    const state = await kernel.state("first");
    expect(await kernelWith().kernel.replay("first", "main")).toEqual(state);
  });

  it("denies what the policy does not allow, dots in paths included", async () => {
    const { kernel } = kernelWith();
    await kernel.createSession("denied", "denied", config);
    for (const refused of ["/etc/passwd", path("../../../etc/passwd")]) {
      const done = await kernel.tick({ session: "denied", ...call("fs.read", { path: refused }) });
      expect(done).toMatchObject({ outcomes: [{ status: "refused", error: expect.stringContaining("/etc/passwd") }] });
    }
  });

  it("carries out an approved call once, on its branch, after the kernel was restarted", async () => {
    const approvals = new ApprovalsTwin();
    const change = (ports: Ports) => ({ ...ports, approvals: approvals.port(straight) });
    const before = kernelWith({ change });
    await before.kernel.createSession("gated", "gated", config);
    await before.kernel.fork("gated", "main", "try");
    const asked = call("fs.write", { path: path("gated/b"), content: "approved" });
    expect(await before.kernel.tick({ session: "gated", branch: "try", ...asked })).toMatchObject({
      status: "waiting",
    });
    before.kernel.close();
    const { kernel } = kernelWith({ change });
    await kernel.resume("gated");
    const [ticket] = approvals.pending();
    expect(ticket).toMatchObject({ tool_name: "fs.write", capability: `fs:write:${path("gated/b")}` });
    const { branch, done } = await kernel.resolveApproval("gated", ticket?.approval_id ?? "", true, "bob");
    expect(branch).toBe("try");
    expect(await done).toMatchObject({ last: { outcomes: [{ status: "ok" }] } });
    expect(text("gated/b")).toBe("approved");
    expect(approvals.pending()).toEqual([]);
  });

  it("denies what a person would have to approve where the kernel can ask nobody", async () => {
    const { kernel } = kernelWith();
    await kernel.createSession("unasked", "unasked", config);
    const asked = call("fs.write", { path: path("gated/e"), content: "x" });
    const error = `denied: fs:write:${path("gated/e")}`;
    expect(await kernel.tick({ session: "unasked", ...asked })).toMatchObject({
      status: "finished",
      outcomes: [{ status: "refused", error }],
    });
  });

  it("holds a session to its policy after a restart, also one that had nothing open", async () => {
    await kernelWith().kernel.createSession("rested", "rested", config);
    const { kernel } = kernelWith();
    const read = call("fs.read", { path: path("a") });
    expect(await kernel.tick({ session: "rested", ...read })).toMatchObject({ outcomes: [{ status: "ok" }] });
    const refused = call("fs.read", { path: "/etc/passwd" });
    expect(await kernel.tick({ session: "rested", ...refused })).toMatchObject({ outcomes: [{ status: "refused" }] });
  });

  it("asks the tools' ledger after a crash between the act and its record", async () => {
    writeFileSync(path("c"), "");
    const executed = Promise.withResolvers<void>();
    const dying = kernelWith({
      change: (ports) => ({
        ...ports,
        tools: {
          ...ports.tools,
          execute: async (request, signal) => {
            await ports.tools.execute(request, signal);
            executed.resolve();
            return new Promise(() => {});
          },
        },
      }),
    });
    await dying.kernel.createSession("crash", "crash", config);
    await dying.kernel.submit({
      session: "crash",
      runId: "r",
      ...call("fs.append", { path: path("c"), content: "x" }),
    });
    await executed.promise;
    const { kernel } = kernelWith();
    expect(await kernel.resume("crash")).toMatchObject([{ standing: { last: { outcomes: [{ status: "ok" }] } } }]);
    expect(text("c")).toBe("x");
  });

  it("goes on by itself when memory and tools were killed", async () => {
    const { kernel } = kernelWith();
    await kernel.createSession("killed", "killed", config);
    await Promise.all([end("memory", "SIGKILL"), end("tools", "SIGKILL")]);
    const write = { session: "killed", runId: "r", ...call("fs.write", { path: path("d"), content: "still" }) };
    start("memory");
    start("tools");
    await until(async () => {
      const done = await kernel.tick(write);
      if (done.status !== "finished") throw new Error(JSON.stringify(done));
    });
    expect((await kernel.state("killed")).runs).toMatchObject([{ reason: "completed", outcomes: [{ status: "ok" }] }]);
    expect(text("d")).toBe("still");
  });

  it("asks the models in their order for JSON that the tools accept, and tells what they gave back as data", async () => {
    const asked: Thought[] = [];
    const answers = [
      { say: "I look", calls: [{ tool: "fs.read", input: { path: path("a") } }] },
      { say: "it says hello", calls: [] },
    ];
    const facts = { model: "twin", provider: "", cut: false, usage: { prompt: 5, completion: 2 }, costUsd: 0.25 };
    const babbles: Thinker = { level: "operational", ask: async () => ({ ...facts, text: '{"say":"","calls":[]}' }) };
    const thinks: Thinker = {
      level: "tactical",
      async ask(thought) {
        asked.push(thought);
        return { ...facts, text: JSON.stringify(answers[asked.length - 1]) };
      },
    };
    const shown = {
      ...{
        name: "fs.read",
        summary: "Reads a file.",
        capabilities: [],
        outputs: [],
        idempotent: true,
        timeoutMs: 1_000,
      },
      input: { properties: { path: { type: "string" } }, required: ["path"] },
    };
    const model = modelOver({
      thinkers: [babbles, thinks],
      levelOf: async () => "reactive",
      tools: async () => ({ own: [], others: [shown] }),
      context: async () => "",
    });
    const { kernel } = kernelWith({ model });
    await kernel.createSession("model", "model", config);
    const done = await kernel.tick({ session: "model", objective: "what is in a?", actor: "alice" });
    expect(done).toMatchObject({ status: "finished", answer: "it says hello", outcomes: [{ status: "ok" }] });
    expect(JSON.parse(asked[0]?.schema ?? "")).toMatchObject({ properties: { calls: { maxItems: 4 } } });
    expect(asked[0]?.messages).toEqual([{ role: "user", text: "what is in a?" }]);
    const { role, text } = asked[1]?.messages.at(-1) ?? {};
    expect(role).toBe("user");
    const [, told = ""] = /^<data-\w+ from="tool">\n(.*)\n<\/data-\w+>$/.exec(text ?? "") ?? [];
    expect(JSON.parse(told)).toMatchObject({ tool: "fs.read", status: "ok", result: { content: "hello" } });
    const { budget } = await kernel.state("model");
    expect(budget.tokens_remaining).toBe(defaultBudget.tokens_remaining - 14);
    expect(budget.cost_remaining_usd).toBe(defaultBudget.cost_remaining_usd - 0.5);
  });

  it("says of each model why it gives no answer, and whether another try may mend it", async () => {
    const fails = (level: Thinker["level"], code: "UNAVAILABLE" | "FAILED_PRECONDITION"): Thinker => ({
      level,
      ask: () => Promise.reject(new AiosError(code, `${level} says no`)),
    });
    const completed = (...thinkers: Thinker[]) =>
      modelOver({
        thinkers,
        levelOf: async () => "tactical",
        tools: async () => ({ own: [], others: [] }),
        context: async () => "",
      }).complete(
        { session_id: "s", branch_id: "main", run_id: "r", step_index: 0, objective: "o", conversation_history: [] },
        new AbortController().signal,
      );
    const [operational, away] = [fails("operational", "UNAVAILABLE"), fails("strategic", "UNAVAILABLE")];
    const unable = fails("tactical", "FAILED_PRECONDITION");
    await expect(completed(operational, unable)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: "tactical: tactical says no",
    });
    await expect(completed(unable, away)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(completed(operational)).rejects.toThrow("there is none of level tactical");
  });
});
