import type { Ajv, ErrorObject, ValidateFunction } from "ajv";
import type { TSchema } from "typebox";
import { AiosError, messageOf } from "#lib/errors";
import { underWatchdog } from "#lib/linux/watchdog";
import { cut } from "#lib/text";
import type { Tool } from "../tool.ts";

/** The largest input and output of a tool, bytes of JSON. */
const inputSizeMaxBytes = 2 * 1024 * 1024;
const outputSizeMaxBytes = 3 * 1024 * 1024;

/** A custom tool's schema is somebody else's: what its patterns take for ever on is given this long. */
const foreignCheckMs = 250;

/** How deep objects and arrays are nested at most. */
const depthMax = 32;

export type Json = Readonly<Record<string, unknown>>;

/** Checks what goes into tools and what comes out. Schemas are compiled at a tool's first use. */
export interface Validation {
  /** The input in `bytes` (empty = {}). Throws INVALID_ARGUMENT with the JSON path and what was expected, RESOURCE_EXHAUSTED when too large. */
  input(tool: Tool, bytes: Uint8Array): Promise<Json>;
  /** The output as JSON. Throws INTERNAL when it does not fit the tool's schema, RESOURCE_EXHAUSTED when too large. */
  output(tool: Tool, value: unknown): Promise<string>;
  /** Throws when a schema of the tool is none. */
  compile(tool: Tool): Promise<void>;
}

/** A custom tool, whose schemas somebody else has written. */
const isForeign = ({ version }: Tool) => version !== undefined;

export function openValidation(): Validation {
  const compiled = new Map<TSchema, ValidateFunction>();
  const made = new Map<boolean, Ajv>();
  /**
   * Ajv is loaded when first needed: the socket answers sooner after start. A custom tool's schemas are checked to be some; that
   * those of the image are is tested (ci/tools.test.ts): the check is two thirds of what a start compiles.
   */
  const ajvFor = async (foreign: boolean): Promise<Ajv> => {
    const { Ajv } = await import("ajv");
    const known = made.get(foreign);
    if (known !== undefined) return known;
    const ajv = new Ajv({ strict: true, verbose: true, ...(!foreign && { meta: false, validateSchema: false }) });
    made.set(foreign, ajv);
    return ajv;
  };
  /** What is wrong with a value; undefined when it fits. */
  const flawOf = async (tool: Tool, schema: TSchema, value: unknown): Promise<string | undefined> => {
    const valid = await check(schema, isForeign(tool));
    try {
      const fits = !isForeign(tool) ? valid(value) : underWatchdog(() => valid(value), foreignCheckMs);
      return fits ? undefined : explain(valid.errors?.[0]);
    } catch (error) {
      return `it cannot be checked against the tool's schema: ${messageOf(error)}`;
    }
  };
  const check = async (schema: TSchema, foreign: boolean): Promise<ValidateFunction> => {
    const known = compiled.get(schema);
    if (known !== undefined) return known;
    const valid = (await ajvFor(foreign)).compile(schema);
    compiled.set(schema, valid);
    return valid;
  };

  return {
    compile: async (tool) => {
      await check(tool.input, isForeign(tool));
      await check(tool.output, isForeign(tool));
    },
    input: async (tool, bytes) => {
      const refuse = (reason: string) =>
        new AiosError("INVALID_ARGUMENT", {
          act: "read input of",
          object: tool.name,
          reason,
          next: `see "aiosctl tool show ${tool.name}"`,
        });
      if (bytes.length > inputSizeMaxBytes) {
        throw new AiosError("RESOURCE_EXHAUSTED", {
          act: "read input of",
          object: tool.name,
          reason: `${bytes.length} bytes, at most ${inputSizeMaxBytes} are taken`,
        });
      }
      const value = parse(bytes, refuse);
      const flaw = await flawOf(tool, tool.input, value);
      if (flaw === undefined) return value as Json;
      throw refuse(flaw);
    },
    output: async (tool, value) => {
      const flaw = await flawOf(tool, tool.output, value);
      if (flaw !== undefined) throw new AiosError("INTERNAL", `check output of ${tool.name}: ${flaw}`);
      const text = JSON.stringify(value);
      const size = Buffer.byteLength(text);
      if (size <= outputSizeMaxBytes) return text;
      throw new AiosError(
        "RESOURCE_EXHAUSTED",
        `check output of ${tool.name}: ${size} bytes of JSON, at most ${outputSizeMaxBytes} are returned; ask for less`,
      );
    },
  };
}

function parse(bytes: Uint8Array, refuse: (reason: string) => AiosError): unknown {
  if (bytes.length === 0) return {};
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw refuse("it is not UTF-8");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw refuse(`it is not JSON: ${error instanceof SyntaxError ? error.message : "too deeply nested"}`);
  }
  const flaw = flawIn(value, 0);
  if (flaw !== undefined) throw refuse(flaw);
  return value;
}

/** Finds what JSON allows and nobody can mean: nesting without end, and text that cannot be written as UTF-8. */
function flawIn(value: unknown, depth: number): string | undefined {
  if (typeof value === "string") return value.isWellFormed() ? undefined : "it holds half a surrogate pair";
  if (typeof value !== "object" || value === null) return undefined;
  if (depth === depthMax) return `it is nested deeper than ${depthMax}`;
  for (const [key, inner] of Object.entries(value)) {
    const flaw = flawIn(key, depth) ?? flawIn(inner, depth + 1);
    if (flaw !== undefined) return flaw;
  }
  return undefined;
}

/** One of Ajv's errors as "path: expected …, found …". */
function explain(error: ErrorObject | undefined): string {
  const path = error?.instancePath || "/";
  const schema = error?.parentSchema as { description?: string; properties?: object } | undefined;
  const below = (name: unknown) => `${path === "/" ? "" : path}/${name}`;
  if (error?.keyword === "required") {
    const name = String(error.params["missingProperty"]);
    const wanted = (schema?.properties as Record<string, { description?: string; type?: string }> | undefined)?.[name];
    return `${below(name)}: missing; expected ${wanted?.description ?? wanted?.type ?? "a value"}`;
  }
  if (error?.keyword === "additionalProperties") {
    const known = Object.keys(schema?.properties ?? {}).join(", ") || "none";
    return `${below(error.params["additionalProperty"])}: no such field; known are ${known}`;
  }
  const found = JSON.stringify(error?.data) ?? "nothing";
  const shown = cut(found, 80);
  const described = schema?.description === undefined ? "" : ` (${schema.description})`;
  return `${path}: ${(error?.message ?? "does not fit").replace(/^must be/, "expected")}${described}, found ${shown}`;
}
