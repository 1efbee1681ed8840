import { beginning } from "#lib/text";
import type { ToolSpec } from "../question.ts";
import { ProviderFault } from "./fault.ts";

/** The longest tool name that providers take. */
const nameLengthMax = 64;

/** Our tools' names as a provider takes them ("fs.read" has a dot, which both refuse), and back. */
export interface ToolNames {
  outward(name: string): string;
  /** Throws ProviderFault when the model asks for what it was not offered. */
  back(name: string): string;
}

export function toolNames(tools: readonly ToolSpec[]): ToolNames {
  const outward = new Map<string, string>();
  const back = new Map<string, string>();
  for (const { name } of tools) {
    let said = plainName(name);
    for (let n = 2; back.has(said); n++) said = `${beginning(plainName(name), nameLengthMax - 4)}_${n}`;
    outward.set(name, said);
    back.set(said, name);
  }
  return {
    // A tool of the history that is no longer offered keeps its plain name.
    outward: (name) => outward.get(name) ?? plainName(name),
    back(name) {
      const ours = back.get(name);
      if (ours === undefined)
        throw new ProviderFault("malformed", `it asks for the tool ${plainName(name)}, which it was not offered`);
      return ours;
    },
  };
}

const plainName = (name: string) => beginning(name.replace(/[^A-Za-z0-9_-]/g, "_"), nameLengthMax);
