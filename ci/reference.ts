/**
 * Writes daemons/tools/REFERENCE.md from the catalogue: every tool with all that is declared of it.
 * With --check nothing is written: it fails when the page is not what would be written.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { TSchema } from "typebox";
import { layout } from "#manifest";
import { type Place, protectedPlaces } from "../daemons/tools/access/index.ts";
import type { Tool } from "../daemons/tools/tool.ts";
import { catalogueTools } from "./catalogue.ts";

const page = resolve(import.meta.dirname, "../daemons/tools/REFERENCE.md");

/** The page: a table of the namespaces, then each tool. */
export function referenceOf(tools: readonly Tool[]): string {
  const namespaces = [...new Set(tools.map(({ namespace }) => namespace))];
  const of = (namespace: string) => tools.filter((tool) => tool.namespace === namespace);
  return [
    "# The tools",
    "",
    `${tools.length} tools in ${namespaces.length} namespaces, written by \`npm run reference\` from the catalogue: change the tool, not this page. \`aiosctl tool show NAME\` tells the same of a running machine, custom tools among them.`,
    "",
    "**Effect** is `read` or `change`. **Undo** says whether `aiosctl rollback EXECUTION` takes a call back. Agents need every capability of **needs**, and those of **may need** where the call turns out to; a `{field}` is that field of the input, resolved. **Asked first** are calls by agents that wait for a person at every autonomy level; the policy adds risks to them. **Role** is the least that a person needs who calls it, approves an agent's call or takes one back; an agent's call that is critical waits for an admin. While the data volume is full only reads are carried out and what says so here, by people before others.",
    "",
    "| namespace | tools |",
    "|---|---|",
    ...namespaces.map((name) => `| [${name}](#${name}) | ${of(name).map(verbOf).join(", ")} |`),
    "",
    "## Protected places",
    "What the machine stands on, with all that lies in it. Agents never change it by naming a path, whatever they were granted; an admin is asked first and shown what it breaks. What is granted they change as far as it was, an admin unasked, and people below an admin not at all. Paths are compared after links, by every name that mounts give a place, and files also by their hard links. `aiosctl tools protected` tells the same of a machine.",
    "",
    "| places | hold | a change breaks | who may change them | who may read them |",
    "|---|---|---|---|---|",
    ...protectedPlaces(layout).map(rowOf),
    ...namespaces.flatMap((name) => ["", `## ${name}`, ...of(name).flatMap(sectionOf)]),
    "",
  ].join("\n");
}

const changers = { granted: "an admin, and agents that were granted it", admin: "an admin", nobody: "nobody" } as const;

function rowOf({ paths, holds, breaks, change, read, way, open = [], itself }: Place): string {
  const named = paths.map((path) => `\`${path}\``).join(", ");
  const but = open.length > 0 ? `, but not \`${open.join("`, `")}\`` : itself ? " (only the folder itself)" : "";
  const by = [changers[change], ...(way === undefined ? [] : [way])].join("; else ");
  return `| ${named}${but} | ${holds} | ${breaks} | ${by} | ${read ?? "whoever was granted it"} |`;
}

const withoutRoom = "carried out while the disk is full";

const verbOf = ({ name, namespace }: Tool) => name.slice(namespace.length + 1);

function sectionOf(tool: Tool): string[] {
  const { name, summary, effect, risk, timeoutMs, idempotent, irreversible, capabilities, alsoNeeds = [] } = tool;
  const undo = effect === "read" ? "nothing to undo" : irreversible ? `no undo: ${irreversible}` : "can be undone";
  const facts = [
    effect,
    `${risk} risk`,
    undo,
    `ends after ${timeoutMs / 1000} s`,
    idempotent ? "may be repeated" : "is not to be repeated",
    ...(tool.confirmation ? ["asked first"] : []),
    ...(tool.confirmationWhen === undefined ? [] : [`asked first ${tool.confirmationWhen.what}`]),
    `role ${tool.role}`,
    ...(tool.rootWhen === undefined ? [] : [`critical, and for an admin, ${tool.rootWhen.what}`]),
    ...(tool.whenFull === undefined ? [] : [tool.whenFull === "as ever" ? withoutRoom : `${withoutRoom}, for good`]),
    ...(tool.callers.includes("agent") ? [] : [`only for ${tool.callers.join(" and ")} callers`]),
  ];
  const words = (list: readonly string[]) => list.map((word) => `\`${word}\``).join(", ");
  return [
    "",
    `### ${name}`,
    summary,
    "",
    `- ${facts.join("; ")}`,
    `- needs ${words(capabilities)}${alsoNeeds.length > 0 ? `; may need ${words(alsoNeeds)}` : ""}`,
    `- input: ${fieldsOf(tool.input)}`,
    `- output: ${fieldsOf(tool.output as Schema)}`,
  ];
}

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, TSchema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly const?: unknown;
}

function fieldsOf({ properties = {}, required = [] }: Schema): string {
  const fields = Object.entries(properties).map(([name, schema]) => {
    const { description } = schema as Schema;
    const told = description === undefined ? "" : `, ${description}`;
    return `\`${name}\`${required.includes(name) ? "" : "?"} (${typeOf(schema as Schema)}${told})`;
  });
  return fields.join(", ") || "nothing";
}

function typeOf({ type, items, properties, enum: values, anyOf, const: constant }: Schema): string {
  if (values !== undefined) return values.map(String).join(" \\| ");
  if (constant !== undefined) return String(constant);
  if (anyOf !== undefined) return anyOf.map(typeOf).join(" \\| ");
  if (type === "array" && items !== undefined) return `list of ${typeOf(items)}`;
  if (properties !== undefined) return `{ ${Object.keys(properties).join(", ")} }`;
  return type ?? "any";
}

if (import.meta.main) {
  const text = referenceOf(await catalogueTools());
  if (!process.argv.includes("--check")) writeFileSync(page, text);
  else if (readFileSync(page, "utf8") !== text) {
    console.error("daemons/tools/REFERENCE.md is not what the catalogue says: run npm run reference");
    process.exitCode = 1;
  }
}
