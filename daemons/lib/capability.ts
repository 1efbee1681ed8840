/**
 * The language of capabilities, in which policies, agents' files, grants and tools' templates are written: `namespace:action`
 * or `namespace:action:resource`. In what is granted the resource is a glob, in what is needed it is the thing itself.
 */

import { AiosError } from "./errors.ts";
import { beginning } from "./text.ts";

/** A capability's text is at most this long. */
const capabilityLengthMax = 4200;

const pattern = /^([a-z][a-z0-9_]*):([a-z][a-z0-9_]*)(?::(.+))?$/s;

export interface Capability {
  readonly namespace: string;
  readonly action: string;
  readonly resource?: string;
}

/** Splits a capability's text; the resource keeps its own colons. Throws INVALID_ARGUMENT. */
export function parseCapability(text: string): Capability {
  const capability = capabilityIn(text);
  if (capability !== undefined) return capability;
  throw new AiosError("INVALID_ARGUMENT", {
    act: "read capability",
    object: JSON.stringify(beginning(text, 200)),
    reason: "expected namespace:action or namespace:action:resource",
    next: 'for example "fs:write:/srv/www/*"',
  });
}

/** The same; undefined for a text that is no capability. */
export function capabilityIn(text: string): Capability | undefined {
  const [, namespace, action, resource] = pattern.exec(text) ?? [];
  if (namespace === undefined || action === undefined) return undefined;
  if (text.length > capabilityLengthMax || text.includes("\0")) return undefined;
  return { namespace, action, ...(resource !== undefined && { resource }) };
}

/** Whether what was granted allows what is needed. A grant without a resource covers only needs without one. */
export function covers(granted: Capability, needed: Capability): boolean {
  if (granted.namespace !== needed.namespace || granted.action !== needed.action) return false;
  if (granted.resource === undefined || needed.resource === undefined) return granted.resource === needed.resource;
  return globMatches(granted.resource, needed.resource);
}

/**
 * Whether all that the grant `asked` covers is covered by `allowed`: the same, or `allowed` ends in `/**` and `asked` names
 * something below it. What has `.`, `..` or `//` in its path, or is no capability, is within nothing.
 */
export function isWithin(allowed: string, asked: string): boolean {
  if (capabilityIn(asked) === undefined || hasDots(asked) || unescaped(asked).includes("//")) return false;
  if (allowed === asked) return true;
  if (!allowed.endsWith("/**")) return false;
  const folder = allowed.slice(0, -2);
  return asked.startsWith(folder) && asked.length > folder.length;
}

/** Whether a capability has `.` or `..` in its path: one that is not resolved could lead out of what a glob means. */
export const hasDots = (text: string): boolean => /(^|[/:])\.\.?(\/|$)/.test(unescaped(text));

const unescaped = (text: string) => text.replaceAll(/\\(.)/gs, "$1");

/** The one thing that a grant is of. Undefined when its resource has a glob's characters. */
export function thingOf({ resource, ...fixed }: Capability): Capability | undefined {
  if (resource === undefined) return fixed;
  const tokens = tokenize(resource);
  const thing = tokens.map((token) => (token.kind === "literal" ? token.character : undefined));
  return thing.includes(undefined) ? undefined : { ...fixed, resource: thing.join("") };
}

/** A text as the glob that it alone fits. */
export function literal(text: string): string {
  return text.replaceAll(/[\\*?]/g, "\\$&");
}

/**
 * Whether `text` fits `glob`: `?` is one character but "/", `*` any number of them, `**` any number of any.
 * A backslash takes the next character as it is. Time is at most the product of the lengths: a glob cannot stall the gate.
 */
export function globMatches(glob: string, text: string): boolean {
  const wild = glob.search(/[\\*?]/);
  if (wild < 0) return glob === text;
  if (!text.startsWith(glob.slice(0, wild))) return false;
  const tokens = tokenize(glob);
  let states = close(tokens, [0]);
  for (const character of text) {
    const next: number[] = [];
    for (const state of states) {
      const token = tokens[state];
      if (token === undefined) continue;
      if (accepts(token, character)) next.push(token.kind === "star" || token.kind === "deep" ? state : state + 1);
    }
    states = close(tokens, next);
    if (states.length === 0) return false;
  }
  return states.includes(tokens.length);
}

type Token = { readonly kind: "one" | "star" | "deep" } | { readonly kind: "literal"; readonly character: string };

function tokenize(glob: string): Token[] {
  const tokens: Token[] = [];
  const characters = [...glob];
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at] ?? "";
    if (character === "*") {
      const deep = characters[at + 1] === "*";
      if (deep) at += 1;
      tokens.push({ kind: deep ? "deep" : "star" });
    } else if (character === "?") {
      tokens.push({ kind: "one" });
    } else {
      const escaped = character === "\\" && at + 1 < characters.length;
      if (escaped) at += 1;
      tokens.push({ kind: "literal", character: characters[at] ?? "" });
    }
  }
  return tokens;
}

function accepts(token: Token, character: string): boolean {
  if (token.kind === "literal") return token.character === character;
  return token.kind === "deep" || character !== "/";
}

/** The states themselves and those reached by letting stars stand for nothing. */
function close(tokens: readonly Token[], states: readonly number[]): number[] {
  const all = new Set<number>();
  for (let state of states) {
    all.add(state);
    while (tokens[state]?.kind === "star" || tokens[state]?.kind === "deep") all.add(++state);
  }
  return [...all];
}

/**
 * The capability that a template such as `fs:write:{path}` stands for when `value` gives the fields.
 * The namespace and action of a template are fixed; only the resource has fields.
 */
export function fillTemplate(template: string, value: (field: string) => string): Capability {
  const { resource, ...fixed } = parseCapability(template);
  if (resource === undefined) return fixed;
  return { ...fixed, resource: resource.replace(/\{([a-z_]+)\}/g, (_, field: string) => value(field)) };
}

export function capabilityText({ namespace, action, resource }: Capability): string {
  return resource === undefined ? `${namespace}:${action}` : `${namespace}:${action}:${resource}`;
}
