import { expect, it } from "vitest";
import { readAgents } from "../daemons/orchestrator/agents/agent-config.ts";
import { planCheck } from "../daemons/orchestrator/plans/check-plan.ts";
import { readProcedures } from "../daemons/orchestrator/plans/procedures/procedures.ts";
import type { ToolFacts } from "../daemons/orchestrator/tools.ts";
import { catalogue } from "../daemons/tools/catalogue/index.ts";

/** Stands for the world of the tools: none of them runs, only what they say of themselves is looked at. */
// biome-ignore lint/suspicious/noExplicitAny: it stands for any dependency
const anything: any = new Proxy(() => anything, {
  get: (_, key) => (key === Symbol.toPrimitive ? () => "[]" : key === Symbol.iterator ? () => [].values() : anything),
  apply: () => anything,
});

const parts = [
  "init",
  "grants",
  "ledger",
  "clock",
  "kernel",
  "state",
  "protection",
  "outbound",
  "approvals",
  "holding",
  "table",
  "policies",
  "packages",
];
const world = {
  ...Object.fromEntries(parts.map((part) => [part, anything])),
  paths: { run: "/", state: "/", etc: "/" },
};

const etc = new URL("../rootfs/etc/aios", import.meta.url).pathname;
const { procedures, faults } = readProcedures(`${etc}/procedures`);
const { agents } = readAgents(`${etc}/agents`);

const tools = new Map(
  catalogue(world as Parameters<typeof catalogue>[0]).map(
    ({ name, summary, capabilities, input, output, idempotent, timeoutMs }): [string, ToolFacts] => {
      const outputs = Object.keys((output as unknown as ToolFacts["input"]).properties ?? {});
      return [
        name,
        { name, summary, capabilities, input: input as unknown as ToolFacts["input"], outputs, idempotent, timeoutMs },
      ];
    },
  ),
);

const check = planCheck({
  find: async (tool) => tools.get(tool),
  covers: (namespace, agent) =>
    agents.some(({ name, namespaces }) => (agent === "" || name === agent) && namespaces.includes(namespace)),
});

it("every procedure of the image can be run by its agents with its tools", async () => {
  expect(faults).toEqual([]);
  for (const { name, parameters, result, steps } of procedures) {
    const values = Object.fromEntries(Object.keys(parameters).map((key) => [key, "x"]));
    const head = { origin: "", procedure: name, level: "reactive", model: "", why: "" } as const;
    const objective = { goalId: "g", description: "", answers: [], done: [], failure: "" };
    const wrong = await check({ ...head, parameters: values, result, steps }, objective);
    expect(wrong, name).toEqual([]);
  }
});

it("what procedures use of earlier steps is what those give", () => {
  for (const { name, steps, result } of procedures) {
    const text = JSON.stringify([result, ...steps.map(({ input, expect }) => [input, expect])]);
    for (const [, step, field] of text.matchAll(/\$\{([\w-]+)\.([\w-]+)/g)) {
      const given = tools.get(steps.find((one) => one.name === step)?.tool ?? "");
      expect(field === "input" || given?.outputs.includes(`${field}`), `${name}: ${step}.${field}`).toBe(true);
    }
    for (const { name: step, tool, expect: wanted } of steps) {
      for (const field of Object.keys(wanted)) {
        expect(tools.get(tool)?.outputs, `${name}: ${step} expects ${field}`).toContain(field);
      }
    }
  }
});
