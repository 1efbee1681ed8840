/**
 * Decides what a plan may name. A grant follows the plan, so the plan must not be steered: what a step ends is named by
 * the person; what it changes is written out by the plan; and once something was read, a plan names nothing new.
 *
 * Every plan is looked at before it runs, whoever made it. A step that deletes, moves, overwrites, stops or revokes
 * something (the tool's name, its capabilities and its switches say so; `ci/steering.test.ts` lists the fields) names
 * it by the person's own words or by an answer, letter by letter, or by what a procedure of the image declares; never
 * by what a step gave. In a model's plan whatever is changed, spoken with or run is written out. And once something was
 * read, a later plan of a model names no host, no program and nothing to change that neither the person nor the plans
 * before have named, nor `planning.may_name`: a page can make a model wish for something else, and it is not planned.
 * Nothing is learned from a later plan.
 */

import { posix } from "node:path";
import { parseCapability } from "#lib/capability";
import type { Json, JsonObject } from "../json.ts";
import type { Objective, Plan, PlannedStep } from "../plan.ts";
import { type Part, parseTemplate, textsIn } from "../template.ts";
import type { ToolFacts } from "../tools.ts";
import { isSaid } from "./procedures/index.ts";

/** Words of a tool's name, of a choice or of a switch by which something is deleted, moved, overwritten, stopped or revoked. */
const endings: ReadonlySet<string> = new Set(
  "del delete disable drop erase format kill mkfs move overwrite purge remove restart restore revoke rm signal stop unmount wipe".split(
    " ",
  ),
);

/** Actions of capabilities that do not change what they name. */
const looking: ReadonlySet<string> = new Set(["read", "search", "copy", "logs", "output", "list"]);

/**
 * Fields of what tools of the image change by its name: a service, a package, a setting. Of other tools what is a path
 * or an address counts.
 */
const naming: ReadonlySet<string> = new Set(
  "append chmod chown configure control create define delete exec install lock mount move remove route spawn watch write".split(
    " ",
  ),
);

/** Fields that say which program is run, and how. */
const programFields = ["argv", "args", "command", "env", "user", "cwd"] as const;

const programs: ReadonlySet<string> = new Set(programFields);

/** Fields that say whom a tool of the network speaks with. */
const hostFields = ["url", "host", "hostname", "server", "address"] as const;

/** Faults of a step by which something ends that nobody has named. */
export function unsaidFaults(step: PlannedStep, facts: ToolFacts, plan: Plan, objective: Objective): string[] {
  return targetsOf(step, facts).flatMap((field) =>
    valuesIn(step.input[field]).flatMap((text) => {
      const wrong = unsaid(parseTemplate(text), plan, objective);
      return wrong === "" ? [] : [`step ${step.name}: ${step.tool}: ${field} ${wrong}`];
    }),
  );
}

/** Why what is ended is not named as it must be; empty when it is. */
function unsaid(parts: readonly Part[], { declared = false, unsure = {} }: Plan, objective: Objective): string {
  const [only] = parts;
  if (parts.length === 1 && only?.kind === "parameter") {
    const other = unsure[only.name];
    return other === undefined ? "" : `could also be ${JSON.stringify(other)}: say it in quotes`;
  }
  if (parts.some(({ kind }) => kind === "output")) return "must be named by the person, not by what a step gave";
  if (declared) return "";
  const text = parts
    .map((part) => (part.kind === "text" ? part.text : `{${"name" in part ? part.name : ""}}`))
    .join("");
  const said = parts.every(({ kind }) => kind === "text") && isSaid(text, objective);
  return said ? "" : `${JSON.stringify(text)} is not what the person has named, letter by letter: ask which is meant`;
}

/** The fields that name what a step ends; none when it ends nothing. */
function targetsOf({ tool, input }: PlannedStep, facts: ToolFacts): string[] {
  const verb = (tool.split(".")[1] ?? "").split("_").some((word) => endings.has(word));
  const choices = Object.entries(input).filter(([field, value]) => isEnding(field, value, facts));
  if (!verb && choices.length === 0 && facts.grave !== true) return [];
  const { required = [], properties = {} } = facts.input;
  // What is only written anew ends nothing, unless the call says so.
  const changed = capabilitiesOf(facts).filter(
    ({ action }) => !looking.has(action) && (choices.length > 0 || action !== "write"),
  );
  const named = [...new Set(changed.flatMap(({ fields }) => fields))];
  const wanted = named.length > 0 ? named : required.filter((field) => properties[field]?.["enum"] === undefined);
  return choices.length > 0 && typeof input["name"] === "string" ? [...new Set([...wanted, "name"])] : wanted;
}

/**
 * A switch such as "overwrite", also one that a step before is to turn; one that ends something when it is off, such as an
 * interface's "up"; or a choice such as action = "delete".
 */
function isEnding(field: string, value: Json, { input }: ToolFacts): boolean {
  const { type, enum: choices } = input.properties?.[field] ?? {};
  if (type === "boolean") return field === "up" ? value !== true : endings.has(field) && value !== false;
  return choices !== undefined && endings.has(String(value).toLowerCase());
}

/**
 * In a model's plan what is changed, whom it speaks with and what it runs is named by the plan itself: a file or a page that
 * a step has read must not name it.
 */
export function steeredFaults({ name, tool, input }: PlannedStep, facts: ToolFacts): string[] {
  const changing = capabilitiesOf(facts).filter(({ action }) => action !== "read");
  const fields = new Set([...changing.flatMap(({ fields }) => fields), ...programFields, ...hostFieldsOf(tool)]);
  const steered = [...fields].filter((field) => textsIn(input[field] ?? null).some(hasOutput));
  return steered.map((field) => `step ${name}: ${tool}: ${field} must be written out, not taken from what a step gave`);
}

/** Names that a plan may use that is made after something was read. */
export interface Known {
  /** Names in the plans before. */
  readonly names: ReadonlySet<string>;
  /** Hosts, "*.example.org" and folders that the configuration allows. */
  readonly allowed: readonly string[];
}

/** The names that the steps of the plans before have used. */
export function namesIn(steps: readonly (readonly [Pick<PlannedStep, "tool" | "input">, ToolFacts])[]): Set<string> {
  return new Set(steps.flatMap(([step, facts]) => [...changesOf(step, facts), ...hostsOf(step)]));
}

/** Faults of a step of a later plan that names what neither the person nor a plan before nor the configuration has named. */
export function strangeFaults(
  step: PlannedStep,
  facts: ToolFacts,
  { names, allowed }: Known,
  objective: Objective,
): string[] {
  const isKnown = (value: string) => names.has(value) || allowed.some((one) => allows(one, value));
  const strange = [
    ...changesOf(step, facts).filter((value) => !isKnown(value) && !isSaid(value, objective)),
    ...hostsOf(step).filter((host) => !isKnown(host) && !isOwn(host) && !isSaidHost(host, objective)),
  ];
  return [...new Set(strange)].map(
    (value) =>
      `step ${step.name}: ${step.tool}: ${JSON.stringify(value)} is named neither by the person nor by the first plan, and something was read since`,
  );
}

/**
 * The places that a call changes, its input as it is made, and that neither the person nor the configuration has named, nor a folder that they lie in: a
 * model's plan may need them, as a web server its own configuration, and a person is asked.
 */
export function strangePlaces(
  call: Pick<PlannedStep, "tool" | "input">,
  facts: ToolFacts,
  allowed: readonly string[],
  said: Pick<Objective, "description" | "answers">,
): string[] {
  const isNamed = (place: string) =>
    allowed.some((one) => allows(one, place)) || foldersOf(place).some((folder) => isSaid(folder, said));
  const input = Object.fromEntries(Object.entries(call.input).filter(([field]) => !programs.has(field)));
  const places = namedBy({ ...call, input }, facts, valuesIn).filter((value) => value.startsWith("/"));
  return places.filter((place) => !isNamed(posix.normalize(place)));
}

/** A place and the folders that it lies in, but for the root of all. */
function foldersOf(place: string): string[] {
  const names = place.split("/").filter((name) => name !== "");
  return names.map((_, index) => `/${names.slice(0, index + 1).join("/")}`);
}

function allows(one: string, value: string): boolean {
  if (one.startsWith("/")) return `${posix.normalize(value)}/`.startsWith(one.endsWith("/") ? one : `${one}/`);
  return one.startsWith("*.") ? value.endsWith(one.slice(1)) : value === one;
}

const isOwn = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);

/** The things that a step changes, and the programs that it runs. */
function changesOf(step: Pick<PlannedStep, "tool" | "input">, facts: ToolFacts): string[] {
  return [...namedBy(step, facts), ...programFields.flatMap((field) => literalsIn(step.input[field]))];
}

/** The things that a step changes; `read` gives the texts of a field. */
function namedBy(
  { tool, input }: Pick<PlannedStep, "tool" | "input">,
  facts: ToolFacts,
  read: (value: JsonObject[string] | undefined) => string[] = literalsIn,
): string[] {
  const hosts: readonly string[] = hostFieldsOf(tool);
  return capabilitiesOf(facts)
    .filter(({ action }) => !looking.has(action))
    .flatMap(({ action, fields }) =>
      fields
        .filter((field) => !hosts.includes(field))
        .flatMap((field) => read(input[field]))
        .filter((value) => naming.has(action) || /^\/|:\/\//.test(value)),
    );
}

function hostsOf({ tool, input }: Pick<PlannedStep, "tool" | "input">): string[] {
  return hostFieldsOf(tool).flatMap((field) => literalsIn(input[field]).map(hostIn));
}

function hostIn(text: string): string {
  if (URL.canParse(text) && text.includes("://")) return new URL(text).hostname;
  return text.replace(/:\d{1,5}$/, "").toLowerCase();
}

/** By itself, or in an address. */
function isSaidHost(host: string, { description, answers }: Objective): boolean {
  const words = [description, ...answers.map(({ answer }) => answer)].join("\n").toLowerCase();
  const addresses = words.match(/[a-z]+:\/\/[^\s"'<>]+/g) ?? [];
  return addresses.some((address) => hostIn(address) === host) || isSaid(host, { description: words, answers: [] });
}

/** Whether a step speaks with another machine. Where a remote is only named, it may be anybody. */
export function leavesMachine(step: Pick<PlannedStep, "tool" | "input">): boolean {
  if (!/^(net|web|git)\./.test(step.tool)) return false;
  const hosts = hostsOf(step);
  return hosts.length === 0 || !hosts.every(isOwn);
}

const hostFieldsOf = (tool: string): readonly string[] => (/^(net|web|git)\./.test(tool) ? hostFields : []);

interface Needed {
  readonly action: string;
  /** The fields of the input that name what it is needed for. */
  readonly fields: readonly string[];
}

const capabilitiesOf = ({ capabilities }: ToolFacts): Needed[] =>
  capabilities.map((template) => ({
    action: parseCapability(template).action,
    fields: [...template.matchAll(/\{([a-z_]+)\}/g)].map(([, field = ""]) => field),
  }));

/** The texts and numbers of a field, as templates. */
function valuesIn(value: JsonObject[string] | undefined): string[] {
  if (typeof value === "number") return [String(value)];
  return value === undefined ? [] : textsIn(value);
}

/** The same as they are, those that an earlier step gives left out. */
function literalsIn(value: JsonObject[string] | undefined): string[] {
  return valuesIn(value).flatMap((text) => {
    const parts = parseTemplate(text);
    return parts.length > 0 && parts.every(({ kind }) => kind === "text")
      ? [parts.map((part) => ("text" in part ? part.text : "")).join("")]
      : [];
  });
}

function hasOutput(text: string): boolean {
  return parseTemplate(text).some(({ kind }) => kind === "output");
}
