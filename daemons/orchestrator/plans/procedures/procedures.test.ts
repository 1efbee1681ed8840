// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are templates of procedures, not of TypeScript

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { readAgents } from "../../agents/agent-config.ts";
import { whenAsked } from "../../declarations.ts";
import type { Plan } from "../../plan.ts";
import { knownGoals } from "../../services/known-goals.ts";
import { fill, fillObject, parseTemplate, type Values } from "../../template.ts";
import type { Learned } from "../learned/learned.ts";
import { planByProcedure, procedureSource } from "./procedure-source.ts";
import { parseProcedure, readProcedures } from "./procedures.ts";

const etc = new URL("../../../../rootfs/etc/aios", import.meta.url).pathname;
const folder = mkdtempSync("/tmp/aios-procedures-");
afterAll(() => rmSync(folder, { recursive: true }));

const shipped = readProcedures(`${etc}/procedures`);
const planOf = (description: string) => planByProcedure(description, shipped.procedures, shipped.faults);

describe("procedures of the image", () => {
  it("can all be read, and every phrase is understood as its own procedure", () => {
    expect(shipped.faults).toEqual([]);
    expect(shipped.procedures.length).toBeGreaterThanOrEqual(9);
    const byType = {
      path: ["/srv/a file.txt", "/srv/other"],
      text: ['say "hi"', "other"],
      name: ["memory", "other"],
      number: ["8081", "8082"],
      url: ["http://127.0.0.1:8081/a?b=c", "https://other.example/"],
      remote: ["git@git.example.org:group/project.git", "/srv/other"],
      pattern: ["*.log", "other"],
    } as const;
    for (const { name, phrases, parameters, defaults, questions } of shipped.procedures) {
      const keys = Object.keys(parameters);
      const spoken = (key: string) => byType[parameters[key] ?? "text"][keys.indexOf(key) === 0 ? 0 : 1];
      for (const { text, parameters: given } of phrases) {
        const said = text.replaceAll(/\{(\w+)\}/g, (_, key) =>
          parameters[key] === "path" ? `"${spoken(key)}"` : spoken(key),
        );
        const plan = planOf(said);
        const asked = keys.find((key) => !given.includes(key) && defaults[key] === undefined);
        if (asked !== undefined) {
          expect(plan, said).toEqual({ question: questions[asked] });
          continue;
        }
        const values = keys.map((key) => {
          const value = given.includes(key) ? spoken(key) : defaults[key];
          return [key, parameters[key] === "number" ? Number(value) : value];
        });
        expect(plan, said).toMatchObject({ procedure: name, parameters: Object.fromEntries(values) });
      }
    }
  });

  it("ask again when an answer cannot be used, and say what is wrong with it; not for ever", () => {
    const [goal, question] = ["install nginx and configure it as a reverse proxy", /^Which port.*stand in front of\?/];
    const answers: { question: string; answer: string }[] = [];
    for (let asked = 0; asked < 3; asked += 1) {
      const draft = planByProcedure(goal, shipped.procedures, [], answers);
      if (!("question" in draft)) throw new Error(JSON.stringify(draft));
      expect(draft.question).toMatch(question);
      expect(draft.question.endsWith('("the usual one" is not a whole number)')).toBe(asked > 0);
      answers.push({ question: draft.question, answer: "the usual one" });
    }
    expect(planByProcedure(goal, shipped.procedures, [], answers)).toMatchObject({
      reason: expect.stringMatching(/port: "the usual one"/),
    });
    const said = answers.map((one, at) => (at === 2 ? { ...one, answer: "it is 8001" } : one));
    expect(planByProcedure(goal, shipped.procedures, [], said)).toMatchObject({
      parameters: { port: 8001, listen: 80 },
    });
  });

  it("are found however they are spelled", () => {
    const plan = planOf("  Please REPORT  disk Usage to /var/lib/aios/reports/disk.txt ");
    expect(plan).toMatchObject({ procedure: "disk-report", parameters: { path: "/var/lib/aios/reports/disk.txt" } });
    expect(planOf("Check system health.")).toMatchObject({ procedure: "system-health" });
    expect(planOf("Show me the disk usage!")).toMatchObject({ procedure: "disk-usage" });
  });

  it.each([
    ["Please create a folder /srv/photos.", "/srv/photos"],
    ["create the folder '/srv/photos.'", "/srv/photos."],
    ["what's in /srv/photos?", "/srv/photos"],
    ["list files in /srv/..", "/srv/.."],
  ])("%s: a full stop is the sentence's", (description, path) => {
    expect(planOf(description)).toMatchObject({ parameters: { path } });
  });

  it("repeat no more of a value that does not fit than tells which it is", () => {
    const { reason } = planOf(`delete the file ${"a".repeat(4_000)}`) as { reason: string };
    expect(reason).toMatch(/"a{99}…" is not an absolute path$/);
  });

  it.each([
    ["brew some coffee", 'no procedure covers this goal: "brew some coffee"'],
    ["report disk usage to disk.txt", '"disk.txt" is not an absolute path'],
    ["status of service ../../etc", '"../../etc" is not a name'],
    ["report disk usage", "no procedure covers this goal"],
  ])("do not cover %j", (description, reason) => {
    expect(planOf(description)).toEqual({ reason: expect.stringContaining(reason) });
  });

  it("ask for what is not said, and take the answer as people give it", () => {
    const goal = "Install nginx and configure it as a reverse proxy on port 8000";
    const asked = planOf(goal) as { question: string };
    expect(asked.question).toMatch(/^Which port/);
    const plan = (answer: string) => planByProcedure(goal, shipped.procedures, shipped.faults, [{ ...asked, answer }]);
    for (const answer of ["8081", "it is on port 8081", "http://127.0.0.1:8081/"]) {
      expect(plan(answer)).toMatchObject({ procedure: "reverse-proxy", parameters: { port: 8081, listen: 8000 } });
    }
    expect(plan("the usual one")).toEqual({
      question: expect.stringMatching(/^Which port.*"the usual one" is not a whole number/),
    });
  });

  it("do the seed's example in seven tasks by the agents that it names", () => {
    const plan = planOf("Install nginx and configure it as a reverse proxy for http://127.0.0.1:8081.") as Plan;
    expect(plan.steps.map(({ tool, agent }) => `${tool} ${agent}`)).toEqual([
      "pkg.search package",
      "pkg.install package",
      "net.http_request network",
      "fs.write system",
      "service.define system",
      "net.http_request monitor",
      "monitor.watchlist_add monitor",
    ]);
    const values = { parameters: plan.parameters, steps: {} };
    expect(fillObject(plan.steps[3]?.input ?? {}, values)["content"]).toContain("proxy_pass http://127.0.0.1:8081;");
    expect(fillObject(plan.steps[4]?.input ?? {}, values)).toMatchObject({ ready_port: 80, start: true });
  });

  it("keep a text as it was given", () => {
    const content = "first line\n  ${disk.percent} {path} {{ second";
    expect(planOf(`create file /tmp/x with content ${content}`)).toMatchObject({
      procedure: "create-file",
      parameters: { path: "/tmp/x", content },
    });
  });

  it("use tools of agents that cover them", () => {
    const { agents, faults } = readAgents(`${etc}/agents`);
    expect(faults).toEqual([]);
    expect(agents.map(({ name }) => name)).toEqual([
      "dev",
      "monitor",
      "network",
      "package",
      "security",
      "storage",
      "system",
      "task",
    ]);
    const namespaces = new Map(agents.map((agent) => [agent.name, agent.namespaces]));
    for (const { steps } of shipped.procedures) {
      for (const { tool, agent } of steps) expect(namespaces.get(agent)).toContain(tool.split(".")[0]);
    }
  });
});

describe("known goals", () => {
  it("are the image's procedures, and what was learned beside them", () => {
    const of = (name: string) => ({ name, phrase: `do ${name}`, steps: [{ tool: "fs.read" }] }) as unknown as Learned;
    const known = knownGoals(shipped.procedures, { usable: () => [of("disk-report"), of("brew-coffee")] });
    expect(known.map(({ name }) => name)).toEqual(
      [...shipped.procedures.map(({ name }) => name), "brew-coffee"].toSorted(),
    );
    expect(known.find(({ learned }) => learned)).toEqual({
      ...{ name: "brew-coffee", phrases: ["do brew-coffee"], learned: true },
      summary: "Learned here: fs.read.",
    });
    expect(known.find(({ name }) => name === "backup")?.phrases).toContain("back up {path}");
  });
});

const step = '[[steps]]\nname = "a"\ndescription = "d"\ntool = "fs.read"\n';
const head = (phrase: string, result = "done") =>
  `[procedure]\nsummary = "s"\nphrases = ["${phrase}"]\nresult = "${result}"\n`;

describe("a procedure's file", () => {
  it.each([
    ["an unknown key", `${head("do it")}colour = 1\n${step}`, /p\.toml:5: procedure\.colour: no such key/],
    ["a parameter that is not declared", `${head("do {thing}")}${step}`, /\{thing\} is not declared/],
    [
      "a declared parameter that a phrase lacks",
      `${head("do it")}[parameters]\nx = "text"\n${step}`,
      /does not give \{x\}/,
    ],
    ["a step that needs a later one", `${head("do it")}${step}needs = ["b"]\n`, /needs b, which is no step before it/],
    ["two steps of one name", `${head("do it")}${step}${step}`, /two steps are named a/],
    [
      "an input from a step that is not needed",
      `${head("do it")}${step}[[steps]]\nname = "b"\ndescription = "d"\ntool = "fs.read"\ninput = { path = "\${a.x}" }\n`,
      /\$\{a\.…\}, which is no step that it needs/,
    ],
    ["a result from no step", `${head("do it", "${z.x}")}${step}`, /the result uses \$\{z/],
    [
      "a default that does not fit",
      `${head("do it")}[parameters]\nn = "number"\n[defaults]\nn = "x"\n${step}`,
      /defaults: n: "x"/,
    ],
    ["a question for nothing", `${head("do it")}[questions]\nn = "Which?"\n${step}`, /there is no parameter n/],
    ["a brace that opens nothing", `${head("do it", "{ x")}${step}`, /neither \{parameter\}/],
    ["a tool that is none", head("do it") + step.replace("fs.read", "read"), /a tool such as fs\.read/],
    ["no TOML", "[procedure", /p\.toml:1/],
  ])("with %s is refused with its place and reason", (_, text, reason) => {
    expect(() => parseProcedure("p", text, "/etc/p.toml")).toThrow(reason);
  });

  it("that is wrong leaves the others usable and is named where a goal is not covered", () => {
    mkdirSync(`${folder}/p`);
    writeFileSync(`${folder}/p/good.toml`, head("do it") + step);
    writeFileSync(`${folder}/p/bad.toml`, "nonsense");
    const { procedures, faults } = readProcedures(`${folder}/p`);
    expect(planByProcedure("do it", procedures, faults)).toMatchObject({ procedure: "good" });
    expect(planByProcedure("do that", procedures, faults)).toEqual({
      reason: expect.stringMatching(/not usable: .*bad\.toml:1/),
    });
  });

  it("is read when the first goal comes, also one that was added since, and its faults are told once", async () => {
    const told: string[] = [];
    const declared = whenAsked(
      () => readProcedures(`${folder}/later`),
      (fault) => told.push(fault),
    );
    const source = procedureSource(declared);
    mkdirSync(`${folder}/later`);
    writeFileSync(`${folder}/later/added.toml`, head("do it") + step);
    writeFileSync(`${folder}/later/bad.toml`, "nonsense");
    const objective = { goalId: "g", description: "do it", answers: [], done: [], failure: "" };
    for (let goal = 0; goal < 2; goal += 1) {
      const draft = await source.draft(objective, [], new AbortController().signal);
      expect(draft).toMatchObject({ procedure: "added" });
    }
    expect(told).toEqual([expect.stringContaining("bad.toml:1")]);
  });

  it("with the longer phrase wins", () => {
    const loose = parseProcedure("loose", `${head("report {x}")}[parameters]\nx = "text"\n${step}`, "loose.toml");
    const exact = parseProcedure(
      "exact",
      `${head("report disk to {x}")}[parameters]\nx = "text"\n${step}`,
      "exact.toml",
    );
    expect(planByProcedure("report disk to me", [loose, exact])).toMatchObject({ procedure: "exact" });
  });
});

describe("template", () => {
  const values: Values = {
    parameters: { path: "/a", evil: "${disk.percent}{path}" },
    steps: {
      disk: {
        input: { path: "/" },
        output: { percent: 41.2345, load: [1, 2], none: null, list: [{ n: "x", s: 1 }, { n: "y" }] },
      },
    },
  };

  it.each([
    ["{path}", "/a"],
    ["at {path}: ${disk.percent} %", "at /a: 41.23 %"],
    ["${disk.percent}", 41.2345],
    ["${disk.input.path}", "/"],
    ["load ${disk.load}, ${disk.none}, ${disk.list.length}", "load 1, 2, none, 2"],
    ["${disk.list|- {n} {s}}", "- x 1\n- y none"],
    ["${disk.load|<{item}>}", "<1>\n<2>"],
    ["{{path} $5", "{path} $5"],
    ["{evil}", "${disk.percent}{path}"],
    ["<{evil}>", "<${disk.percent}{path}>"],
  ])("%s", (text, filled) => {
    expect(fill(text, values)).toEqual(filled);
  });

  it.each([
    "${disk.nothing}",
    "${other.x}",
    "{other}",
    "${disk.percent|{x}}",
    "${disk.__proto__}",
    "${disk.constructor}",
  ])("%s has no value", (text) => {
    expect(() => fill(text, values)).toThrow(/fill a template/);
  });

  it.each(["{", "${", "${disk}", "${disk.list|{n}", "${a.b|${c.d}}", "{a b}"])("%s is none", (text) => {
    expect(() => parseTemplate(text)).toThrow(/read template/);
  });
});
