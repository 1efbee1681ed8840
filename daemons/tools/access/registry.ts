import { parseCapability } from "#lib/capability";
import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";
import type { ResourceKind, Tool } from "../tool.ts";

/** The tools there are, by name. What agents can be granted derives from them. */
export interface Registry {
  /** Throws NOT_FOUND. */
  find(name: string): Tool;
  /** Those of a namespace, or (empty) all, in the catalogue's order. */
  list(namespace: string): readonly Tool[];
  /** Throws when a tool contradicts itself: a capability for a field that its input may lack. */
  check(tool: Tool): void;
  /** Adds a custom tool, or replaces one. */
  add(tool: Tool): void;
  remove(name: string): void;
}

/** Throws when the catalogue contradicts itself: two tools of one name, or a capability for a field that the input lacks. */
export function openRegistry(catalogue: readonly Tool[]): Registry {
  const tools = new Map<string, Tool>();
  for (const tool of catalogue) {
    if (tools.has(tool.name)) throw new Error(`two tools are named ${tool.name}`);
    checkTemplates(tool);
    tools.set(tool.name, tool);
  }
  return {
    find: (name) => {
      const tool = tools.get(name);
      if (tool !== undefined) return tool;
      throw new AiosError("NOT_FOUND", {
        act: "find tool",
        object: JSON.stringify(beginning(name, 128)),
        reason: "there is no such tool",
        next: 'see "aiosctl tools"',
      });
    },
    list: (namespace) => [...tools.values()].filter((tool) => namespace === "" || tool.namespace === namespace),
    check: checkTemplates,
    add: (tool) => void tools.set(tool.name, tool),
    remove: (name) => void tools.delete(name),
  };
}

function checkTemplates({ name, input, capabilities }: Tool): void {
  for (const template of capabilities) {
    const fields = parseCapability(template).resource?.matchAll(/\{([a-z_]+)\}/g) ?? [];
    for (const [, field = ""] of fields) {
      if (!input.required?.includes(field))
        throw new AiosError("INVALID_ARGUMENT", `${name} needs ${template}, but its input may lack ${field}`);
    }
  }
}

/** The capabilities that exist, by `namespace:action`. */
export type CapabilityTable = ReadonlyMap<
  string,
  {
    readonly hasResource: boolean;
    /** What its resource is, where the pipeline resolves it. */
    readonly kind: ResourceKind | undefined;
  }
>;

export function capabilityTable(tools: readonly Tool[]): CapabilityTable {
  return new Map(
    tools.flatMap(({ capabilities, alsoNeeds = [], resources }) =>
      [...capabilities, ...alsoNeeds].map((template) => {
        const { namespace, action, resource } = parseCapability(template);
        const field = /^\{([a-z_]+)\}$/.exec(resource ?? "")?.[1];
        const kind = field === undefined ? undefined : resources[field];
        return [`${namespace}:${action}`, { hasResource: resource !== undefined, kind }] as const;
      }),
    ),
  );
}
