import type { TObject, TSchema } from "typebox";
import { parseCapability } from "#lib/capability";
import { AiosError, messageOf } from "#lib/errors";
import { beginning } from "#lib/text";
import type { ToolDefinition } from "#proto/aios/tools";
import type { Risk } from "../tool.ts";

/** The longest schema, bytes. */
const schemaLengthMax = 65_536;

const timeoutMaxMs = 300_000;
const capabilitiesMax = 8;
const descriptionLengthMax = 500;

/** Names that stand for parts of the machine, whether or not it has tools for them now. */
const reserved: readonly string[] = [
  ...["fs", "process", "service", "net", "firewall", "pkg", "sec", "monitor", "hw", "container", "git", "web"],
  ...["storage", "backup", "config", "alert", "self", "code", "plugin", "email", "aios", "core", "agent", "tool"],
];

/** A custom tool as it is kept. */
export interface CustomTool {
  readonly name: string;
  readonly version: string;
  readonly summary: string;
  readonly input: TObject;
  readonly output: TSchema;
  readonly capabilities: readonly [`${string}:${string}`, ...`${string}:${string}`[]];
  readonly risk: Risk;
  readonly confirmation: boolean;
  readonly idempotent: boolean;
  readonly reversible: boolean;
  readonly timeoutMs: number;
  /** The handler's socket: its path, and the user that owned it when the tool was registered. */
  readonly socket: { readonly path: string; readonly uid: number };
}

/** Reads and checks a definition. `ours` are the namespaces of the catalogue. Throws INVALID_ARGUMENT. */
export function readDefinition(
  definition: ToolDefinition | undefined,
  ours: ReadonlySet<string>,
): Omit<CustomTool, "socket"> {
  const { name = "" } = definition ?? {};
  const [namespace = "", verb] = name.split(".");
  if (definition === undefined || !/^[a-z][a-z0-9_]{0,31}\.[a-z][a-z0-9_]{0,31}$/.test(name) || verb === undefined)
    throw refuse(name, "its name is not namespace.verb", "use lower-case letters, digits and _");
  if (ours.has(namespace) || reserved.includes(namespace))
    throw refuse(name, `the namespace ${namespace} belongs to the machine`, "choose another");
  if (definition.namespace !== "" && definition.namespace !== namespace)
    throw refuse(name, `its namespace says ${definition.namespace}`, `leave it empty, or say ${namespace}`);
  if (!/^[0-9A-Za-z.+-]{1,32}$/.test(definition.version)) throw refuse(name, "it has no version", 'such as "1.0.0"');
  if (definition.description === "" || definition.description.length > descriptionLengthMax)
    throw refuse(name, "it has no description", `one sentence of at most ${descriptionLengthMax} characters`);
  if (definition.timeoutMs < 1 || definition.timeoutMs > timeoutMaxMs)
    throw refuse(name, `its time-out is ${definition.timeoutMs} ms`, `give 1 to ${timeoutMaxMs}`);
  if (definition.rollbackTool !== "")
    throw refuse(name, "it names a tool for rollback", "leave it empty: the handler's Undo takes a run back");
  return {
    name,
    version: definition.version,
    summary: definition.description,
    input: schemaOf(name, "input_schema", definition.inputSchema) as TObject,
    output: schemaOf(name, "output_schema", definition.outputSchema),
    capabilities: capabilitiesOf(name, namespace, definition.requiredCapabilities),
    risk: riskOf(name, definition.riskLevel),
    confirmation: definition.requiresConfirmation,
    idempotent: definition.idempotent,
    reversible: definition.reversible,
    timeoutMs: definition.timeoutMs,
  };
}

function schemaOf(name: string, field: string, bytes: Uint8Array): TSchema {
  if (bytes.length > schemaLengthMax)
    throw refuse(name, `${field} is longer than ${schemaLengthMax} bytes`, "shorten it");
  let schema: Record<string, unknown>;
  try {
    schema = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw refuse(name, `${field} is not JSON: ${messageOf(error)}`, "give a JSON Schema");
  }
  if (typeof schema !== "object" || schema === null || schema["type"] !== "object")
    throw refuse(name, `${field} does not describe an object`, 'begin with {"type": "object", "properties": …}');
  if (/"\$(id|async|dynamicRef|recursiveRef)"\s*:|"\$ref"\s*:\s*"[^#]/.test(JSON.stringify(schema)))
    throw refuse(name, `${field} refers to other schemas`, "write it as one");
  const { $schema: _, ...rest } = schema;
  return rest as unknown as TSchema;
}

function capabilitiesOf(name: string, namespace: string, texts: readonly string[]): CustomTool["capabilities"] {
  const [first] = texts;
  if (first === undefined || texts.length > capabilitiesMax)
    throw refuse(name, "it needs no capability, or too many", `give 1 to ${capabilitiesMax}, such as ${namespace}:use`);
  for (const text of texts) {
    if (parseCapability(text).namespace !== namespace)
      throw refuse(name, `its capability ${text} is of another namespace`, `begin it with ${namespace}:`);
  }
  return [...texts] as unknown as CustomTool["capabilities"];
}

function riskOf(name: string, risk: string): Risk {
  if (risk === "low" || risk === "medium" || risk === "high" || risk === "critical") return risk;
  throw refuse(name, `its risk level is ${JSON.stringify(risk)}`, "say low, medium, high or critical");
}

export function refuse(name: string, reason: string, next: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", { act: "register", object: beginning(name, 128) || "a tool", reason, next });
}
