import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { service } from "#lib/rpc/service";
import { HealthStatus } from "#proto/aios/common";
import { GoalControlService, GoalView } from "#proto/aios/goal_control";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { AIRuntimeService, ModelStatus } from "#proto/aios/runtime";
import { globalOptions } from "./cli.ts";
import { commands } from "./commands.ts";
import {
  autonomy,
  init,
  looks,
  openTwin,
  orchestrator,
  type Twin,
  toolRoles,
  tools,
  watched,
} from "./testing/twins.ts";
import { count, duration, moment, size } from "./words.ts";

let twin: Twin;
beforeEach(() => {
  twin = openTwin();
});
afterEach(() => twin.close());

const documents = (out: string) =>
  out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("status, boot, units", () => {
  it("tells how the machine is", async () => {
    await twin.daemon("init", init());
    const held = "restart service nginx (nginx: stopped: ended by SIGKILL): the level is manual";
    await twin.daemon("orchestrator", orchestrator([]), autonomy([held], ['goal "proxy" asks: Which port?']));
    const { code, out } = await twin.aiosctl("status");
    expect(code).toBe(0);
    expect(out).toContain(`  held     ${held}\n  waits    goal "proxy" asks: Which port?\n`);
    expect(out).toMatch("this machine: degraded, version 0.1.0");
    expect(out).toMatch("1 of 2 ready");
    expect(out).toMatch("gateway is crash loop: exit status 70");
    expect(out).toMatch("8 active");
    expect(out).toMatch("no watchdog device");
    const [status] = documents((await twin.aiosctl("status", "--json")).out);
    expect(status).toMatchObject({
      state: "degraded",
      autonomyMs: 11_200,
      activeAgents: 8,
      units: [{ state: "ready" }, {}],
    });
  });

  it("tells it also while the orchestrator is away, and is not autonomous then", async () => {
    await twin.daemon("init", init([], "autonomous"));
    const { code, out } = await twin.aiosctl("status");
    expect(code).toBe(0);
    expect(out).toMatch(/^this machine: degraded,/);
    expect(out).toMatch(/work +call .*nothing answers/);
    expect(out).toMatch(/fault +no goal can be given: call .*nothing answers/);
  });

  it("is not autonomous while a daemon is not ready, however it booted; a service of one's own is another matter", async () => {
    const { stop } = await twin.daemon("init", init([], "autonomous"));
    await twin.daemon("orchestrator", orchestrator([]), autonomy());
    expect((await twin.aiosctl("status")).out).toMatch(/^this machine: degraded,[\s\S]*gateway is crash loop/);
    expect(documents((await twin.aiosctl("status", "--json")).out)).toMatchObject([{ state: "degraded" }]);
    stop();
    await twin.daemon("init", init([], "autonomous", true));
    expect((await twin.aiosctl("status")).out).toMatch(/^this machine: autonomous,[\s\S]*gateway is crash loop/);
  });

  it("is not autonomous while it was stopped, and says how to go on", async () => {
    await twin.daemon("init", init([], "autonomous"));
    const stopped = { stopped: true, stoppedBy: "operator:alice", reason: "smoke" };
    await twin.daemon("orchestrator", orchestrator([]), autonomy([], [], stopped));
    const why = 'stopped by operator:alice: smoke; "aiosctl emergency resume" goes on';
    expect((await twin.aiosctl("status")).out).toMatch(/^this machine: degraded,[\s\S]*\n {2}fault {4}stopped by/);
    const [status] = documents((await twin.aiosctl("status", "--json")).out);
    expect(status).toMatchObject({ state: "degraded", faults: ["no watchdog device", why] });
    expect(status).not.toHaveProperty("noGoals");
  });

  it("shows the boot on a timeline", async () => {
    await twin.daemon("init", init());
    const { out } = await twin.aiosctl("boot");
    expect(out).toMatch("degraded, autonomous 11.2 s after kernel start; kernel started 2026-11-21 09:15:02 UTC");
    expect(out).toMatch(/1\/3 hardware +2\.4 s +310 ms +ready + █/);
    expect(out).toMatch(/3\/3 core +- +- +pending$/m);
    expect(out).toMatch("runtime: no model");
    expect(documents((await twin.aiosctl("--json", "boot")).out)[0]).toMatchObject({ autonomyMs: 11_200 });
  });

  it("lists units and acts on one", async () => {
    const asked: unknown[] = [];
    await twin.daemon("init", init(asked));
    expect((await twin.aiosctl("units")).out).toMatch(/gateway +crash loop +- +- +- +9 +- +exit status 70/);
    expect((await twin.aiosctl("units", "restart", "gateway")).out).toBe("gateway is starting\n");
    expect(asked).toEqual([["restart", "gateway"]]);
  });

  it("turns the machine off only when that is meant", async () => {
    const asked: unknown[] = [];
    await twin.daemon("init", init(asked));
    expect(await twin.aiosctl("power", "off")).toMatchObject({ code: 2, error: expect.stringContaining("--yes") });
    expect(asked).toEqual([]);
    expect(await twin.aiosctl("power", "off", "--yes", "--reason", "moving")).toMatchObject({ code: 0 });
    expect(asked).toEqual([["shutdown", "moving"]]);
  });
});

describe("goals", () => {
  it("submits with priority and tags, and prints the id alone", async () => {
    const asked: unknown[] = [];
    await twin.daemon("init", init());
    await twin.daemon("orchestrator", orchestrator([], asked));
    const line = ["goal", "submit", "do it", "--priority", "high", "--tag", "a", "--tag", "b"];
    expect(await twin.aiosctl(...line)).toEqual({ code: 0, out: "g1\n", error: "" });
    expect(asked[0]).toMatchObject({ description: "do it", priority: 1, tags: ["a", "b"] });
    expect(documents((await twin.aiosctl(...line, "--json")).out)).toEqual([{ id: "g1" }]);
    expect(await twin.aiosctl("goal", "submit", "x", "-p", "urgent")).toMatchObject({ code: 2 });
  });

  it("exits with 1 when the goal failed; in JSON the last line is the end", async () => {
    await twin.daemon("init", init());
    await twin.daemon("orchestrator", watched(looks("failed")));
    const { code, out } = await twin.aiosctl("goal", "follow", "g1", "--json");
    expect(code).toBe(1);
    const lines = documents(out);
    expect(lines).toHaveLength(4);
    expect(lines.at(-1)).toMatchObject({ goal: { status: "failed", result: "step b: no space left" } });
    expect(lines.at(-1).tasks[0].outputJson).toEqual({ percent: 41 });
  });

  it("waits for a machine that goes away while a goal is followed, and gives up in the end", async () => {
    let away = 3;
    await twin.daemon("init", init());
    const watchGoal = async function* () {
      if (away-- > 0) throw new AiosError("UNAVAILABLE", "memory is away");
      yield* looks("completed").map(({ goal, tasks }) => GoalView.fromPartial({ goal, tasks }));
    };
    await twin.daemon("orchestrator", orchestrator([]), service(GoalControlService, { watchGoal }));
    const clock = new ManualClock();
    const pass = setInterval(() => void clock.advance(1_000), 5);
    try {
      const { code, error } = await twin.aiosctlWith({ clock }, "goal", "submit", "x", "--follow");
      expect(code).toBe(0);
      expect(error).toBe("the machine does not answer; waiting for it\n");
      away = Number.POSITIVE_INFINITY;
      expect(await twin.aiosctlWith({ clock }, "goal", "submit", "x", "--follow")).toMatchObject({ code: 3 });
      expect(await twin.aiosctlWith({ clock }, "goal", "follow", "g1")).toMatchObject({
        code: 3,
        error: expect.stringMatching(/^aiosctl: memory is away/),
      });
    } finally {
      clearInterval(pass);
    }
  });

  it("stops following at Ctrl-C", async () => {
    await twin.daemon("init", init());
    await twin.daemon("orchestrator", watched(looks("completed").slice(0, 1)));
    const interrupt = new AbortController();
    setTimeout(() => interrupt.abort(), 100);
    expect((await twin.aiosctlWith({ signal: interrupt.signal }, "goal", "follow", "g1")).code).toBe(130);
  });

  it("lists, shows and cancels", async () => {
    const asked: unknown[] = [];
    await twin.daemon("init", init());
    await twin.daemon("orchestrator", orchestrator(looks("failed").slice(-1), asked));
    const list = await twin.aiosctl("goal", "list", "--status", "completed", "-n", "1");
    expect(list.out).toMatch(/g1 +2026-11-21 09:15:02 +completed +report disk usage/);
    expect(list.error).toMatch("1 of 30");
    expect(asked).toEqual([{ statusFilter: "completed", limit: 1, offset: 0, cursor: "" }]);
    expect(await twin.aiosctl("goal", "list", "-n", "0")).toMatchObject({ code: 2 });
    const shown = await twin.aiosctl("goal", "show", "g1");
    expect(shown.out).toMatch(/step b +monitor +failed +- +no space left/);
    expect(shown.out).toMatch('{"percent":41}');
    expect((await twin.aiosctl("goal", "cancel", "g1")).out).toBe("cancelled\n");
    expect(await twin.aiosctl("goal", "cancel", "g2")).toMatchObject({ code: 1, out: "no goal g2\n" });
  });
});

describe("agents, tools, models, logs", () => {
  it("lists agents and models", async () => {
    await twin.daemon("init", init());
    await twin.daemon("orchestrator", orchestrator([]));
    const model = ModelStatus.fromPartial({ modelName: "bringup", status: "ready", requestCount: 2 });
    await twin.daemon(
      "runtime",
      service(AIRuntimeService, {
        listModels: () => ({ models: [model] }),
        healthCheck: () => HealthStatus.fromPartial({ details: { gpu: "none: no driver" } }),
      }),
    );
    expect((await twin.aiosctl("agents")).out).toMatch(
      /system +system +idle +41\.2 MB of 268 MB +812 ms +fs hw +- +its duties rest for 10 minutes\n/,
    );
    expect(documents((await twin.aiosctl("agents", "--json")).out)[0].agents[0]).toMatchObject({ agentId: "system" });
    expect((await twin.aiosctl("models")).out).toMatch(/bringup +- +ready +- +- +- +- +2\n\nGPU none: no driver/);
  });

  it("lists and calls tools", async () => {
    const asked: unknown[] = [];
    await twin.daemon("init", init());
    await twin.daemon("tools", tools(asked), toolRoles());
    const plain = (await twin.aiosctl("tool", "show", "fs.read")).out;
    expect(plain).toContain("role operator; critical, and for an admin, of the moon\n");
    expect(plain).toContain("a person is asked about agents' calls: at night\n");
    expect((await twin.aiosctl("tools")).out).toMatch(/fs\.read +operator +low +no +fs:read:\{path\} +Reads a file/);
    expect(documents((await twin.aiosctl("tools", "hw", "--json")).out)).toEqual([{ tools: [] }]);
    const [shown] = documents((await twin.aiosctl("tool", "show", "fs.read", "--json")).out);
    expect(shown).toMatchObject({ name: "fs.read", role: "operator", inputSchema: { type: "object" } });
    const called = await twin.aiosctl("tool", "call", "fs.read", '{"path": "/a"}', "--json", "--reason", "look");
    expect(called.code).toBe(0);
    expect(documents(called.out)[0]).toMatchObject({ success: true, output: { content: "hello" } });
    const ledger = { sequence: 7, state: "done", hash: "ab12" };
    expect(documents(called.out)[0]).toMatchObject({ executionId: "e", ledger });
    expect(asked[1]).toMatchObject({ toolName: "sec.audit" });
    expect(asked[0]).toMatchObject({ toolName: "fs.read", reason: "look", inputJson: Buffer.from('{"path":"/a"}') });
    expect(await twin.aiosctl("tool", "call", "fs.stat", "{}")).toMatchObject({
      code: 1,
      out: "failed: no such file\n",
      error: "execution e, 3 ms\nledger entry 7, done, ab12\n",
    });
    expect(await twin.aiosctl("tool", "call", "fs.read", "{path}")).toMatchObject({ code: 2 });
  });

  it("shows logs as words, without what could move the cursor, and as objects", async () => {
    const asked: unknown[] = [];
    await twin.daemon("init", init(asked));
    expect((await twin.aiosctl("logs", "tools", "-n", "5")).out).toBe(
      "09:15:02.000 tools warn refused a call path=/x n=3\n09:15:02.000 tools plain words\n",
    );
    expect(asked).toEqual([{ unit: "tools", lines: 5, follow: false }]);
    const [first, second] = documents((await twin.aiosctl("logs", "--json")).out);
    expect(first).toMatchObject({ unit: "tools", level: "warn", msg: "refused a call", n: 3 });
    expect(second).toMatchObject({ unit: "tools", text: "plain \u001b[2Jwords" });
  });

  it("follows logs until Ctrl-C", async () => {
    await twin.daemon("init", init());
    const interrupt = new AbortController();
    setTimeout(() => interrupt.abort(), 200);
    const { code, out } = await twin.aiosctlWith({ signal: interrupt.signal }, "logs", "--follow");
    expect(code).toBe(130);
    expect(out.split("\n")).toHaveLength(3);
  });
});

describe("wrong use, and machines that are away", () => {
  it("says what can be done", async () => {
    expect(await twin.aiosctl("--help")).toMatchObject({
      code: 0,
      out: expect.stringContaining("goal submit DESCRIPTION"),
      error: "",
    });
    expect(await twin.aiosctl("--help")).toMatchObject({ code: 0, out: expect.stringContaining("Exit status") });
    expect(await twin.aiosctl("frobnicate")).toMatchObject({
      code: 2,
      out: "",
      error: expect.stringContaining('no command "frobnicate"'),
    });
    const group = await twin.aiosctl("units", "--help");
    expect(group).toMatchObject({ code: 0, out: expect.stringContaining("units restart NAME") });
    expect(group.out).not.toMatch("goal submit");
    expect(await twin.aiosctl("goal", "submit")).toMatchObject({
      code: 2,
      error: expect.stringContaining("usage: aiosctl goal submit"),
    });
    expect(await twin.aiosctl("status", "--colour")).toMatchObject({
      code: 2,
      error: expect.stringContaining("--colour"),
    });
    expect(await twin.aiosctl("status")).toMatchObject({ code: 2, error: expect.stringContaining("npm run up") });
  });

  it("has help with examples for every command, and examples that are commands", async () => {
    for (const { name, examples } of commands) {
      const { code, out } = await twin.aiosctl(...name.split(" "), "--help");
      expect(code).toBe(0);
      expect(out, name).toMatch(`aiosctl ${name}`);
      expect(examples.length, name).toBeGreaterThan(0);
      for (const example of examples) expect(example, name).toMatch(name.replace(/ list$/, ""));
    }
  });

  it("has no option that means one thing here and another there", () => {
    const kinds = new Map(Object.entries(globalOptions).map(([name, { type }]) => [name, type]));
    for (const [name, { type }] of commands.flatMap(({ options }) => Object.entries(options ?? {}))) {
      expect(kinds.get(name) ?? type, name).toBe(type);
      kinds.set(name, type);
    }
  });

  it("exits with 3 when nothing answers, in both forms", async () => {
    const { stop } = await twin.daemon("init", init());
    stop();
    await twin.daemon("init", service(OrchestratorService, {}));
    const away = await twin.aiosctl("agents");
    expect(away).toMatchObject({ code: 3, out: "", error: expect.stringContaining("nothing answers") });
    const json = await twin.aiosctl("agents", "--json");
    expect(JSON.parse(json.error)).toMatchObject({ error: { code: "UNAVAILABLE" } });
    expect((await twin.aiosctl("boot")).code).toBe(1);
  });
});

describe("words", () => {
  it("reads figures", () => {
    expect([0, 412.4, 999, 11_234, 200_000, 18_720_000, 273_600_000].map(duration)).toEqual([
      ...["0 ms", "412 ms", "999 ms", "11.2 s", "3 min 20 s", "5 h 12 min", "3 d 4 h"],
    ]);
    expect([0, 999, 1_000, 19_400_000, 123_456_789_000].map(size)).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "19.4 MB",
      "123 GB",
    ]);
    expect(moment(0)).toBe("-");
    expect([count(1, "task"), count(0, "task")]).toEqual(["1 task", "0 tasks"]);
  });
});
