import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Ajv } from "ajv";
import { parse } from "smol-toml";
import { beforeAll, describe, expect, it } from "vitest";
import { users } from "#manifest";
import type { Tool } from "../daemons/tools/tool.ts";
import { machineOnly } from "./carried.ts";
import { catalogueTools } from "./catalogue.ts";
import { referenceOf } from "./reference.ts";

const root = resolve(import.meta.dirname, "..");
const read = (path: string) => readFileSync(`${root}/${path}`, "utf8");
const tables = (folder: string) =>
  readdirSync(`${root}/rootfs/etc/aios/${folder}`).map((file) => ({
    file: `${folder}/${file}`,
    // biome-ignore lint/suspicious/noExplicitAny: each has a schema of its own, which is not what is looked at here
    table: parse(read(`rootfs/etc/aios/${folder}/${file}`)) as any,
  }));

let tools: readonly Tool[];
let names: ReadonlySet<string>;
let namespaces: ReadonlySet<string>;
beforeAll(async () => {
  tools = await catalogueTools();
  names = new Set(tools.map(({ name }) => name));
  namespaces = new Set(tools.map(({ namespace }) => namespace));
});

describe("what is named exists", () => {
  it("namespaces that agents name, and every namespace has an agent made for it beside the one for everything", () => {
    const agents = tables("agents").map(({ table }) => [table.agent.name, table.capabilities.tool_namespaces]);
    expect(agents.map(([name]) => `aios-agent-${name}`).sort()).toEqual(
      Object.keys(users)
        .filter((user) => user.startsWith("aios-agent-"))
        .sort(),
    );
    const named = agents.flatMap(([name, list]) => list.map((one: string) => [name, one]));
    expect(named.filter(([, one]) => !namespaces.has(one))).toEqual([]);
    const covered = new Set(named.filter(([name]) => name !== "task").map(([, one]) => one));
    expect([...namespaces].filter((one) => !covered.has(one))).toEqual([]);
    expect(
      named
        .filter(([name]) => name === "task")
        .map(([, one]) => one)
        .sort(),
    ).toEqual([...namespaces].sort());
  });

  it("tools that steps of procedures name, with the agent asked for, and what a step grants beside", () => {
    const offered = new Map(
      tables("agents").map(({ table }) => [table.agent.name, table.capabilities.tool_namespaces]),
    );
    const known = new Set(tools.flatMap((tool) => [...tool.capabilities, ...(tool.alsoNeeds ?? [])].map(actOf)));
    for (const { file, table } of tables("procedures")) {
      for (const { name, tool, agent, also = [] } of table.steps) {
        expect(names, `${file}, step ${name}`).toContain(tool);
        if (agent !== undefined) expect(offered.get(agent), `${file}, step ${name}`).toContain(tool.split(".")[0]);
        for (const one of also) expect(known, `${file}, step ${name}`).toContain(actOf(one));
      }
    }
  });

  it("tools that the policy limits, that the daemons call of each other, and that the help shows", () => {
    const policy = tables("security").find(({ file }) => file.endsWith("policy.toml"))?.table;
    for (const name of Object.keys(policy.limits.tools)) expect(names).toContain(name);
    const sources = ["init", "orchestrator", "console", "ctl", "agents"].flatMap((daemon) =>
      readdirSync(`${root}/daemons/${daemon}`, { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".ts") && !/test|twin/.test(file))
        .map((file) => `daemons/${daemon}/${file}`),
    );
    const pattern = new RegExp(`(?:"|tool call )((?:${[...namespaces].join("|")})\\.[a-z_]+)(?="|\\s)`, "g");
    const named = sources.flatMap((path) =>
      [...read(path).matchAll(pattern)].map(([, name = ""]) => `${path} ${name}`),
    );
    expect(named.length).toBeGreaterThan(5);
    // What agents notice has names of the same form; each has a trigger.
    const notices = new Set(tables("triggers").map(({ table }) => table.trigger?.category ?? table.category));
    const strangers = named.filter((one) => {
      const name = one.split(" ")[1] ?? "";
      return !names.has(name) && !notices.has(name);
    });
    expect(strangers).toEqual([]);
  });
});

/** "fs:write" of "fs:write:{path}". */
const actOf = (capability: string) => capability.split(":").slice(0, 2).join(":");

it("the reference page is what the catalogue says", () => {
  expect(read("daemons/tools/REFERENCE.md") === referenceOf(tools), "run npm run reference").toBe(true);
  for (const { name, summary } of tools) expect(referenceOf(tools)).toContain(`### ${name}\n${summary}\n`);
});

it("the tools that only a machine can run are run there", () => {
  // "call" there fails the test when the tool fails.
  const text = read("qemu/tests/container.test.ts").replaceAll("() => call(", "await call(");
  for (const name of machineOnly) {
    expect(names).toContain(name);
    expect(text).toContain(`await call("${name}"`);
  }
});

describe("a tool of the image", () => {
  it("has schemas that are JSON Schema, which aios-tools does not look at again", () => {
    const ajv = new Ajv({ strict: true });
    for (const { name, input, output } of tools)
      for (const schema of [input, output])
        expect([name, ajv.validateSchema(schema), ajv.errorsText()]).toEqual([name, true, "No errors"]);
  });
});
