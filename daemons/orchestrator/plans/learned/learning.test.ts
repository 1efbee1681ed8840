// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are templates of plans, not of TypeScript

import { describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import type { Goal, GoalState } from "../../goal.ts";
import { goalOf, headOf, tasksOf } from "../../goals/records.ts";
import type { JsonObject } from "../../json.ts";
import type { Objective, Plan, PlannedStep } from "../../plan.ts";
import { fillObject } from "../../template.ts";
import { noteOf } from "../decisions.ts";
import { type Procedure, parseProcedure } from "../procedures/procedures.ts";
import { confidence, isProven } from "./confidence.ts";
import { generalise } from "./generalise.ts";
import type { Learned, LearnedStore } from "./learned.ts";
import { learnedSource } from "./learned-source.ts";
import { openLearning } from "./learning.ts";

const step = (name: string, tool: string, input: JsonObject, more: Partial<PlannedStep> = {}): PlannedStep => ({
  ...{ name, tool, input, description: `Do ${name}`, agent: "", needs: [], expect: {}, also: [], ...more },
});

const planOf = (steps: readonly PlannedStep[], more: Partial<Plan> = {}): Plan => ({
  ...{ origin: "model m", procedure: "", level: "tactical", model: "m", why: "asked to", parameters: {} },
  ...{ result: "Done.", steps, ...more },
});

const submission = (description: string) => ({
  ...{ description, priority: 2, tags: [], metadata: "", source: "operator:o", dependsOn: [], dedupeKey: "" },
});

/** A goal that is over, by this plan. */
function goalBy(description: string, plan: Plan, state: GoalState = "completed"): Goal {
  const goal = goalOf(submission(description), {}, 1_000);
  goal.decisions = [noteOf("a plan is wanted", [], plan, 1_000)];
  goal.plan = headOf(plan, 0);
  goal.tasks = tasksOf(goal, plan, 0).map((task) => ({ ...task, state: "completed", startedAt: 1_000 }));
  goal.state = state;
  return goal;
}

const objective = (description: string, failure = ""): Objective => ({
  ...{ goalId: "g", description, answers: [], done: [], failure },
});

function storeTwin(learned: Learned[] = []): LearnedStore & { readonly kept: Map<string, Learned>; away: boolean } {
  const kept = new Map(learned.map((one) => [one.id, one]));
  const twin = {
    kept,
    away: false,
    list: async () => [...kept.values()],
    async put(one: Learned) {
      if (twin.away) throw new AiosError("INTERNAL", "a full disk");
      kept.set(one.id, structuredClone(one));
    },
  };
  return twin;
}

const open = (store: LearnedStore, procedures: readonly Procedure[] = []) => {
  const clock = new ManualClock();
  const declared = () => ({ procedures, faults: [] });
  const learning = openLearning(store, declared, { clock, log: silentLog }, new AbortController().signal);
  return { learning, source: learnedSource(learning, declared) };
};

const draft = (source: ReturnType<typeof learnedSource>, description: string) =>
  source.draft(objective(description), [], new AbortController().signal);

const proxySteps = [
  step("install", "pkg.install", { name: "nginx" }),
  step(
    "write",
    "fs.write",
    {
      path: "/etc/nginx/sites-available/default",
      content: "server {{\n  listen 80;\n  location / {{ proxy_pass http://127.0.0.1:8081; }\n}\n",
    },
    { needs: ["install"] },
  ),
  step("look", "net.check_port", { host: "127.0.0.1", port: 8081 }, { needs: ["write"], expect: { open: true } }),
];
const proxyGoal = "Install nginx and configure it as a reverse proxy for http://127.0.0.1:8081";

describe("confidence", () => {
  it.each([
    [0, 0, 0, false],
    [1, 0, 0.5, true],
    [0, 1, 0, false],
    [1, 1, 0.21, false],
    [2, 0, 0.67, true],
    [3, 1, 0.5, true],
    [9, 0, 0.9, true],
    [50, 50, 0.45, false],
  ])("of %d successes and %d failures is %d, use: %s", (successes, failures, sure, use) => {
    expect(confidence(successes, failures)).toBeCloseTo(sure, 2);
    expect(isProven(successes, failures)).toBe(use);
  });
});

describe("a plan that is made general", () => {
  it("has the port of an address as its parameter when the plan uses it elsewhere too, as a number where it was one", () => {
    const general = generalise(proxyGoal, { steps: proxySteps, result: "nginx stands before port 8081." });
    expect(general.phrase).toBe("Install nginx and configure it as a reverse proxy for http://127.0.0.1:{number}");
    expect(general.parameters).toEqual({ number: "number" });
    expect(general.result).toBe("nginx stands before port {number}.");
    const values = { parameters: { number: 9000 }, steps: {} };
    const [install, write, look] = general.steps.map(({ input }) => fillObject(input, values));
    expect(install).toEqual({ name: "nginx" });
    expect(write?.["content"]).toBe("server {\n  listen 80;\n  location / { proxy_pass http://127.0.0.1:9000; }\n}\n");
    expect(look).toEqual({ host: "127.0.0.1", port: 9000 });
  });

  it("has the whole address when that is what is used", () => {
    const steps = [step("fetch", "web.download", { url: "http://10.0.0.5:8081/a", path: "/srv/a.txt" })];
    const general = generalise("download http://10.0.0.5:8081/a to /srv/a.txt", { steps, result: "Done." });
    expect(general.phrase).toBe("download {url} to {path}");
    expect(general.steps[0]?.input).toEqual({ url: "{url}", path: "{path}" });
  });

  it.each([
    ["restart the service nginx", { name: "nginx" }, "restart the service {name}", { name: "{name}" }],
    ["write a note to /srv/n", { path: "/srv/n/note.txt" }, "write a note to {path}", { path: "{path}/note.txt" }],
    ["write a note to /srv/n", { path: "/srv/notes" }, "write a note to /srv/n", { path: "/srv/notes" }],
    ["write a note to /srv/n.d", { path: "/srv/n" }, "write a note to /srv/n.d", { path: "/srv/n" }],
    ['say "hello there" to all', { what: "hello there!" }, "say {text} to all", { what: "{text}!" }],
    ["keep 30 lines", { lines: 30 }, "keep {number} lines", { lines: "{number}" }],
    ["keep 30 lines", { lines: 300 }, "keep 30 lines", { lines: 300 }],
    ["copy 8080 to 8080", { port: 8080 }, "copy 8080 to 8080", { port: 8080 }],
    ["set nginx up", { name: "nginx", path: "/etc/nginx" }, "set nginx up", { name: "nginx", path: "/etc/nginx" }],
    ["count 12 of ${a.n12}", { x: "${a.n12}", y: 12 }, "count {number} of ${a.n12}", { x: "${a.n12}", y: "{number}" }],
    ["pay $25", { what: "$25" }, "pay $25", { what: "$25" }],
  ])("%s, with %j", (goal, input, phrase, general) => {
    const made = generalise(goal, { steps: [step("a", "x.y", input)], result: "Done." });
    expect({ phrase: made.phrase, input: made.steps[0]?.input }).toEqual({ phrase, input: general });
  });
});

describe("what was learned", () => {
  it("plans a similar goal with another port, also after a restart", async () => {
    const store = storeTwin();
    const first = open(store);
    first.learning.ended(goalBy(proxyGoal, planOf(proxySteps)));
    await first.learning.settled();
    const { learning, source } = open(store);
    await learning.settled();
    const plan = await draft(
      source,
      "please install nginx and configure it as reverse proxy for http://127.0.0.1:8082.",
    );
    expect(plan).toMatchObject({ level: "reactive", parameters: { number: 8082 }, model: "" });
    expect(plan).toMatchObject({ why: expect.stringContaining("worked the one time it was used (confidence 50 %)") });
    expect(await draft(source, "install apache and configure it as reverse proxy for http://127.0.0.1:8082")).toEqual({
      reason: "nothing that was learned fits",
    });
  });

  it("takes a text in quotes only, as the one that it was learned from", async () => {
    const { learning, source } = open(storeTwin());
    const steps = [step("write", "fs.write", { path: "/srv/a", content: "the tide turns" })];
    learning.ended(goalBy('write "the tide turns" to /srv/a', planOf(steps)));
    await learning.settled();
    expect(await draft(source, 'write "a poem" to /srv/b')).toMatchObject({
      parameters: { path: "/srv/b", text: "a poem" },
    });
    for (const goal of ["write a poem about the sea to /srv/b", "write hello to /srv/b"])
      expect(await draft(source, goal)).toEqual({ reason: "nothing that was learned fits" });
  });

  it("is used no more after it has failed, and again when it has worked by another way", async () => {
    const { learning, source } = open(storeTwin());
    learning.ended(goalBy(proxyGoal, planOf(proxySteps)));
    await learning.settled();
    const plan = (await draft(source, proxyGoal.replace("8081", "8083"))) as Plan;
    learning.ended(goalBy(proxyGoal, plan, "failed"));
    await learning.settled();
    expect(await draft(source, proxyGoal)).toEqual({
      reason: expect.stringMatching(/worked 1 of 2 times: that is too/),
    });
    learning.ended(goalBy(proxyGoal, planOf(proxySteps.slice(0, 2))));
    await learning.settled();
    expect(await draft(source, proxyGoal)).toMatchObject({ steps: [{ name: "install" }, { name: "write" }] });
  });

  it("is strengthened by each use", async () => {
    const store = storeTwin();
    const { learning, source } = open(store);
    for (let times = 0; times < 3; times += 1) {
      const plan = times === 0 ? planOf(proxySteps) : ((await draft(source, proxyGoal)) as Plan);
      learning.ended(goalBy(proxyGoal, plan));
      await learning.settled();
    }
    expect([...store.kept.values()]).toMatchObject([{ successes: 3, failures: 0 }]);
  });

  it("is weakened also when another plan has brought its goal to an end", async () => {
    const store = storeTwin();
    const { learning, source } = open(store);
    learning.ended(goalBy(proxyGoal, planOf(proxySteps)));
    await learning.settled();
    const followed = (await draft(source, proxyGoal)) as Plan;
    const goal = goalBy(proxyGoal, followed);
    const other = planOf([step("other", "x.y", {})]);
    goal.decisions = [...goal.decisions, noteOf("it failed", [], other, 1_000)];
    goal.plan = headOf(other, 1);
    learning.ended(goal);
    await learning.settled();
    expect([...store.kept.values()]).toMatchObject([{ successes: 1, failures: 1 }]);
  });

  it("is nothing of goals that were cancelled, asked a person, or were planned twice", async () => {
    const store = storeTwin();
    const { learning } = open(store);
    learning.ended(goalBy(proxyGoal, planOf(proxySteps), "cancelled"));
    learning.ended({ ...goalBy(proxyGoal, planOf(proxySteps)), questions: [{ question: "Which?", answer: "this" }] });
    learning.ended({ ...goalBy(proxyGoal, planOf(proxySteps)), plan: headOf(planOf(proxySteps), 1) });
    learning.ended(goalBy("write {this}", planOf([step("a", "fs.write", { content: "this" })])));
    await learning.settled();
    expect(store.kept.size).toBe(0);
  });

  it("is used while it cannot be stored", async () => {
    const store = storeTwin();
    store.away = true;
    const { learning, source } = open(store);
    learning.ended(goalBy(proxyGoal, planOf(proxySteps)));
    await learning.settled();
    expect(await draft(source, proxyGoal)).toHaveProperty("steps");
  });

  it("of a declared procedure is that procedure, until the image declares it in another way", async () => {
    const text = (path: string) =>
      `[procedure]\nsummary = "s"\nphrases = ["note {port}"]\nresult = "ok"\n[parameters]\nport = "number"\n[[steps]]\nname = "a"\ndescription = "d"\ntool = "fs.read"\ninput = { path = "${path}" }\n`;
    const declared = [parseProcedure("note", text("/a"), "note.toml")];
    const store = storeTwin();
    const { learning, source } = open(store, declared);
    const plan = planOf(declared[0]?.steps ?? [], {
      procedure: "note",
      origin: "procedure note",
      parameters: { port: 12 },
    });
    learning.ended(goalBy("note 12", plan));
    await learning.settled();
    expect(await draft(source, "note 13")).toMatchObject({
      origin: "learned procedure note",
      parameters: { port: 13 },
    });
    const other = open(store, [parseProcedure("note", text("/b"), "note.toml")]);
    await other.learning.settled();
    expect(await draft(other.source, "note 13")).toEqual({
      reason: expect.stringContaining("declared in another way"),
    });
  });

  it("is not gone by where another plan has failed", async () => {
    const { learning, source } = open(storeTwin());
    learning.ended(goalBy(proxyGoal, planOf(proxySteps)));
    await learning.settled();
    expect(await source.draft(objective(proxyGoal, "it failed"), [], new AbortController().signal)).toHaveProperty(
      "reason",
    );
  });
});
