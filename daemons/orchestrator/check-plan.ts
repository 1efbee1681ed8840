import { messageOf } from "#lib/errors";
import type { JsonObject } from "./goal.ts";
import { namespaceOf } from "./goal.ts";
import { capabilityFor } from "./grants.ts";
import { type Plan, type PlannedStep, stepsMax } from "./plan.ts";
import type { CheckPlan } from "./planner.ts";
import { parseTemplate, textsIn } from "./template.ts";
import type { ToolFacts } from "./tools.ts";

export interface PlanGround {
  /** A tool by its name; undefined when there is none. */
  find(tool: string): Promise<ToolFacts | undefined>;
  /** Whether some agent of the machine may be given tools of this namespace. */
  covers(namespace: string, agent: string): boolean;
}

/** Checks that a plan can run on this machine before any of it does. */
export function planCheck(ground: PlanGround): CheckPlan {
  return async (plan, { done }) => {
    const faults = shapeFaults(plan, new Set(done.map(({ step }) => step)));
    for (const step of plan.steps) faults.push(...(await toolFaults(step, plan.model !== "", ground)));
    return faults;
  };
}

/** Steps use earlier steps that they need, so there is no cycle. */
function shapeFaults({ steps, parameters, result }: Plan, done: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  if (steps.length === 0) faults.push("it has no steps");
  if (steps.length > stepsMax) faults.push(`${steps.length} steps, at most ${stepsMax}`);
  const reach = new Map<string, ReadonlySet<string>>();
  for (const { name, needs, input, expect, description } of steps) {
    if (reach.has(name)) faults.push(`two steps are named ${name}`);
    const strangers = needs.filter((need) => !reach.has(need) && !done.has(need));
    for (const need of strangers) faults.push(`step ${name} needs ${need}, which is no step before it`);
    const before = new Set([...done, ...needs.flatMap((need) => [need, ...(reach.get(need) ?? [])])]);
    reach.set(name, before);
    faults.push(...templateFaults(`the input of step ${name}`, textsIn(input), parameters, before));
    faults.push(
      ...templateFaults(`what step ${name} expects`, textsIn(expect), parameters, new Set([...before, name])),
    );
    faults.push(...templateFaults(`the description of step ${name}`, [description], parameters, new Set()));
  }
  faults.push(...templateFaults("the result", [result], parameters, new Set([...done, ...reach.keys()])));
  return faults;
}

function templateFaults(
  where: string,
  texts: readonly string[],
  parameters: Plan["parameters"],
  steps: ReadonlySet<string>,
): string[] {
  return texts.flatMap((text) => {
    try {
      return parseTemplate(text).flatMap((part) => {
        if (part.kind === "parameter" && !Object.hasOwn(parameters, part.name)) {
          return [`${where} uses {${part.name}}, which is no parameter`];
        }
        if (part.kind === "output" && !steps.has(part.step)) {
          return [`${where} uses \${${part.step}.…}, which is no step that it needs`];
        }
        return [];
      });
    } catch (error) {
      return [`${where}: ${messageOf(error)}`];
    }
  });
}

/** What no agent is ever granted: by these it could grant itself, or answer for a person. */
const neverGranted = ["sec:grant", "sec:approve"];

async function toolFaults(step: PlannedStep, byModel: boolean, ground: PlanGround): Promise<string[]> {
  const { name, tool, agent } = step;
  const facts = await ground.find(tool);
  if (facts === undefined) return [`step ${name}: there is no tool ${tool}`];
  if (!grantable(facts)) return [`step ${name}: ${tool} is not for agents`];
  if (!ground.covers(namespaceOf(tool), agent)) return [`step ${name}: no agent of this machine covers ${tool}`];
  const steered = byModel ? steeredFaults(step, facts) : [];
  return [...inputFaults(step, facts), ...grantFaults(step, facts), ...steered];
}

/**
 * A grant follows the plan, so in a model's plan what is changed is named by the plan itself: a file or a page that a step
 * has read must not name it.
 */
function steeredFaults({ name, tool, input }: PlannedStep, { capabilities }: ToolFacts): string[] {
  const changing = capabilities.filter((template) => template.split(":")[1] !== "read");
  const fields = changing.flatMap((template) =>
    [...template.matchAll(/\{([a-z_]+)\}/g)].map(([, field = ""]) => field),
  );
  const steered = fields.filter((field) => textsIn(input[field] ?? null).some(hasOutput));
  return steered.map((field) => `step ${name}: ${tool}: ${field} must be written out, not taken from what a step gave`);
}

/** Whether agents can be given a tool at all. */
export function grantable({ capabilities }: ToolFacts): boolean {
  return !capabilities.some((one) => neverGranted.includes(one));
}

/** Fields that hold a template are known only when the steps before have run: they are left to the tool's own check. */
function inputFaults({ name, tool, input }: PlannedStep, { input: schema }: ToolFacts): string[] {
  const { required = [], properties = {}, additionalProperties } = schema;
  const missing = required.filter((field) => !Object.hasOwn(input, field));
  const unknown =
    additionalProperties === false ? Object.keys(input).filter((field) => !Object.hasOwn(properties, field)) : [];
  const wrong = Object.entries(input).flatMap(([field, value]) => {
    const wanted = properties[field]?.type;
    if (typeof wanted !== "string" || textsIn(value).some(hasHole)) return [];
    return isOf(wanted, value) ? [] : [`step ${name}: ${tool}: ${field} is not of type ${wanted}`];
  });
  return [
    ...missing.map((field) => `step ${name}: ${tool} needs the field ${field}`),
    ...unknown.map((field) => `step ${name}: ${tool} has no field ${field}`),
    ...wrong,
  ];
}

/** A capability names its object by an input field: without it nothing can be granted. */
function grantFaults({ name, tool, input }: PlannedStep, { capabilities }: ToolFacts): string[] {
  if (textsIn(input).some(hasHole)) return [];
  try {
    for (const template of capabilities) capabilityFor(template, input);
    return [];
  } catch (error) {
    return [`step ${name}: ${tool}: ${messageOf(error)}`];
  }
}

function hasOutput(text: string): boolean {
  return parseTemplate(text).some(({ kind }) => kind === "output");
}

function hasHole(text: string): boolean {
  return parseTemplate(text).some(({ kind }) => kind !== "text");
}

function isOf(type: string, value: JsonObject[string]): boolean {
  if (type === "array") return Array.isArray(value);
  if (type === "object") return value !== null && typeof value === "object" && !Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  return typeof value === type;
}
