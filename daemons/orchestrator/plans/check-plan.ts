import { messageOf } from "#lib/errors";
import { namespaceOf } from "../goal.ts";
import { capabilityFor } from "../grants.ts";
import type { JsonObject } from "../json.ts";
import { type Objective, type Plan, type PlannedStep, stepsMax } from "../plan.ts";
import { parseTemplate, textsIn } from "../template.ts";
import type { ToolFacts } from "../tools.ts";
import type { CheckPlan } from "./planner.ts";
import { type Known, namesIn, steeredFaults, strangeFaults, unsaidFaults } from "./steering.ts";

interface PlanGround {
  /** A tool by its name; undefined when there is none. */
  find(tool: string): Promise<ToolFacts | undefined>;
  /** Whether some agent of the machine may be given tools of this namespace. */
  covers(namespace: string, agent: string): boolean;
  /** Hosts and folders that a plan may name also after something was read. */
  readonly allowed?: readonly string[];
}

/** Checks that a plan can run on this machine before any of it does. */
export function planCheck(ground: PlanGround): CheckPlan {
  return async (plan, objective) => {
    const faults = shapeFaults(plan, new Set(objective.done.map(({ step }) => step)));
    const known = await knownTo(objective, ground);
    for (const step of plan.steps) {
      const facts = await ground.find(step.tool);
      if (facts === undefined) {
        faults.push(`step ${step.name}: there is no tool ${step.tool}`);
        continue;
      }
      faults.push(...toolFaults(step, facts, ground), ...unsaidFaults(step, facts, plan, objective));
      if (plan.model !== "") faults.push(...steeredFaults(step, facts));
      if (plan.model !== "" && known !== undefined) faults.push(...strangeFaults(step, facts, known, objective));
    }
    return faults;
  };
}

/** Names that a plan may use once something was read; undefined while nothing was. */
async function knownTo({ done, failure, planned = [] }: Objective, ground: PlanGround): Promise<Known | undefined> {
  if (done.length === 0 && failure === "") return undefined;
  const steps = await Promise.all(planned.map(async (step) => [step, await ground.find(step.tool)] as const));
  const found = steps.flatMap(([step, facts]) => (facts === undefined ? [] : [[step, facts] as const]));
  return { names: namesIn(found), allowed: ground.allowed ?? [] };
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

/** Capabilities that no agent is ever granted: by these it could grant itself, or answer for a person. */
const neverGranted = ["sec:grant", "sec:approve"];

function toolFaults(step: PlannedStep, facts: ToolFacts, ground: PlanGround): string[] {
  const { name, tool, agent } = step;
  if (!grantable(facts)) return [`step ${name}: ${tool} is not for agents`];
  if (!ground.covers(namespaceOf(tool), agent)) return [`step ${name}: no agent of this machine covers ${tool}`];
  return [...inputFaults(step, facts), ...grantFaults(step, facts)];
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
