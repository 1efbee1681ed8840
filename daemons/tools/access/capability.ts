import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";

/** A capability's text is at most this long. */
const capabilityLengthMax = 4200;

/** `namespace:action[:resource]`. In what is granted the resource is a glob, in what is needed it is the thing itself. */
export interface Capability {
  readonly namespace: string;
  readonly action: string;
  readonly resource?: string;
}

/** Splits a capability's text; the resource keeps its own colons. Throws INVALID_ARGUMENT. */
export function parseCapability(text: string): Capability {
  const [, namespace, action, resource] = /^([a-z][a-z0-9_]*):([a-z][a-z0-9_]*)(?::(.+))?$/s.exec(text) ?? [];
  if (namespace === undefined || action === undefined || text.length > capabilityLengthMax || text.includes("\0")) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read capability",
      object: JSON.stringify(beginning(text, 200)),
      reason: "expected namespace:action or namespace:action:resource",
      next: 'for example "fs:write:/srv/www/*"',
    });
  }
  return { namespace, action, ...(resource !== undefined && { resource }) };
}

/** Whether what was granted allows what is needed. A grant without a resource covers only needs without one. */
export function covers(granted: Capability, needed: Capability): boolean {
  if (granted.namespace !== needed.namespace || granted.action !== needed.action) return false;
  if (granted.resource === undefined || needed.resource === undefined) return granted.resource === needed.resource;
  return globMatches(granted.resource, needed.resource);
}

/**
 * Whether `text` fits `glob`: `?` is one character but "/", `*` any number of them, `**` any number of any.
 * A backslash takes the next character as it is. Time is at most the product of the lengths: a glob cannot stall the gate.
 */
export function globMatches(glob: string, text: string): boolean {
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
