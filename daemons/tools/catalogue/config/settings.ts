import { readFile } from "node:fs/promises";
import { parse, stringify, type TomlValue } from "smol-toml";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { AiosError, errnoOf, messageOf } from "#lib/errors";
import { hold, readHeld, resolvePath } from "../../files/index.ts";
import { type Documents, openDocuments, type State } from "../../state/index.ts";
import { changes, reads, type Tool, type Undo } from "../../tool.ts";
import {
  contentMaxBytes,
  named,
  object,
  timestamp,
  undoWrite,
  unifiedDiff,
  type WritePlan,
  writeFile,
} from "../shared/index.ts";
import { merge, setValue, type Table, valueAt } from "./edit.ts";

/** Changes that are remembered. */
const historyMax = 1_000;

/** The image's own configuration: its values hold where the machine's file says nothing. */
const imageFile = "/usr/share/aios/config.toml";

/** Keys that no agent may change, whatever it was granted: they are what it is held by. */
const closedToAgents = /^(security\.|system\.autonomy_level$|network\.(management_|allow_outbound$))/;

interface Setting {
  readonly executionId: string;
  readonly at: number;
  readonly by: string;
  readonly key: string;
  readonly before?: unknown;
  readonly after: unknown;
  readonly undone: boolean;
}

interface ConfigWorld {
  readonly state: State;
  readonly clock: Clock;
  readonly paths: { readonly run: string; readonly etc: string };
}

const file = Type.Optional(
  Type.String({
    pattern: "^(config|(agents|procedures)/[a-z0-9][a-z0-9-]{0,63})\\.toml$",
    description: "config.toml unless given, or a file of agents/ or procedures/",
  }),
);

const key = Type.String({
  pattern: "^[A-Za-z0-9_-]{1,64}(\\.[A-Za-z0-9_-]{1,64}){0,7}$",
  description: "a dotted key such as system.log_level",
});

/** /etc/aios: reads and changes by key, checked before they are written, and what was changed when by whom. */
export function configTools(world: ConfigWorld): readonly Tool[] {
  const history = openDocuments<Setting>(world.state, "config");
  return [getTool(world), setTool(world, history), validateTool(world), historyTool(history)];
}

const getTool = ({ paths }: ConfigWorld) =>
  reads({
    name: "config.get",
    summary: "Gives a file of /etc/aios or one key of it, and of config.toml also the value in effect.",
    input: object({ file, key: Type.Optional(key) }),
    output: object({
      file: Type.String(),
      value: Type.Unknown({ description: "null when the file does not say" }),
      in_effect: Type.Unknown({ description: "null when it is not known" }),
    }),
    capabilities: ["config:read"],
    timeoutMs: 5_000,
    run: async ({ input: { file = "config.toml", key } }) => {
      const path = `${paths.etc}/${file}`;
      const table = tableIn(await textOf(path), path);
      const pick = (from: Table) => (key === undefined ? from : (valueAt(from, key) ?? null));
      const effective = file === "config.toml" ? await inEffect(paths.run) : undefined;
      return { file: path, value: pick(table), in_effect: effective === undefined ? null : pick(effective) };
    },
  });

type SetInput = { key: string; value: TomlValue };
type SetPlan = { readonly write: WritePlan };

const setTool = (world: ConfigWorld, history: Documents<Setting>) =>
  changes({
    name: "config.set",
    summary:
      "Sets a key of /etc/aios/config.toml, when the whole fits the schema then. It takes effect at the next boot.",
    input: object({
      key,
      value: Type.Union([Type.String({ maxLength: 4096 }), Type.Number(), Type.Boolean(), Type.Array(Type.String())]),
    }),
    output: object({
      file: Type.String(),
      before: Type.Unknown({ description: "null when the file did not say" }),
      takes_effect: Type.String(),
    }),
    capabilities: ["config:write:{key}"],
    undo: undoSet(world, history),
    // The machine boots by it: autonomy, what may leave, which programs are trusted.
    risk: "critical",
    timeoutMs: 10_000,
    idempotent: true,
    preview: async ({ caller, input }) => {
      if (caller.kind === "agent" && closedToAgents.test(input.key)) throw closed(input.key);
      const { path, text, after } = await edited(world, input);
      return unifiedDiff(path, text, after);
    },
    exclusive: "config",
    run: async ({ executionId, caller, input }) => {
      const { path, before, after } = await edited(world, input);
      await writeFile(await resolvePath(path), Buffer.from(after), executionId);
      const by = `${caller.kind} ${caller.name}`;
      const told = { executionId, at: world.clock.now(), by, key: input.key, after: input.value, undone: false };
      await history.put(executionId, before === undefined ? told : { ...told, before });
      await history.keep(historyMax);
      return { file: path, before: before ?? null, takes_effect: "at the next boot" };
    },
  });

/** A change is a write of the whole file, and taken back as one. */
function undoSet(world: ConfigWorld, history: Documents<Setting>): Undo<SetInput, Record<never, never>, SetPlan> {
  return {
    prepare: async (call, backups) => {
      if (call.caller.kind === "agent" && closedToAgents.test(call.input.key)) throw closed(call.input.key);
      const { path, after } = await edited(world, call.input);
      const resources = { path: await resolvePath(path) };
      return { write: await undoWrite.prepare({ ...call, input: { path, content: after }, resources }, backups) };
    },
    restore: async ({ write }, call) => {
      await undoWrite.restore(write, call);
      const told = history.get(call.executionId);
      if (told !== undefined) await history.put(call.executionId, { ...told, undone: true });
    },
    settle: async ({ write }, call) => undoWrite.settle?.(write, call),
  };
}

/** The file with the change in it, checked. */
async function edited({ paths }: ConfigWorld, { key, value }: SetInput) {
  const path = `${paths.etc}/config.toml`;
  const text = await textOf(path);
  const before = valueAt(tableIn(text, path), key);
  const after = setValue(text, key, value);
  const problem = await problemIn(after, path);
  if (problem !== undefined) {
    throw new AiosError("FAILED_PRECONDITION", {
      act: "set",
      object: key,
      reason: problem,
      next: "nothing was written",
    });
  }
  return { path, text, before, after };
}

const validateTool = ({ paths }: ConfigWorld) =>
  reads({
    name: "config.validate",
    summary:
      "Checks a file of /etc/aios, or a text that is to become one: config.toml against its schema, others as TOML.",
    input: object({ file, content: Type.Optional(Type.String({ maxLength: contentMaxBytes })) }),
    output: object({ valid: Type.Boolean(), problems: Type.Array(Type.String()) }),
    capabilities: ["config:read"],
    timeoutMs: 5_000,
    run: async ({ input: { file = "config.toml", content } }) => {
      const path = `${paths.etc}/${file}`;
      const text = content ?? (await textOf(path));
      const problem = file === "config.toml" ? await problemIn(text, path) : syntaxProblem(text, path);
      return { valid: problem === undefined, problems: problem === undefined ? [] : [problem] };
    },
  });

const historyTool = (history: Documents<Setting>) =>
  reads({
    name: "config.history",
    summary: "Lists the changes of config.set, the newest first; a rollback of the execution takes one back.",
    input: object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: historyMax })) }),
    output: object({
      changes: Type.Array(
        object({
          execution_id: Type.String(),
          at: timestamp,
          by: Type.String(),
          key: Type.String(),
          before: Type.Unknown(),
          after: Type.Unknown(),
          undone: Type.Boolean(),
        }),
      ),
    }),
    capabilities: ["config:read"],
    timeoutMs: 5_000,
    run: ({ input: { limit = 100 } }) => ({
      changes: history
        .list(limit)
        .map(({ executionId, before = null, ...told }) => ({ execution_id: executionId, before, ...told })),
    }),
  });

/** Finds the faults of a configuration; keys that it leaves out are the image's. */
async function problemIn(text: string, path: string): Promise<string | undefined> {
  // Loaded when first needed: the schema checker is a tenth of a daemon's code.
  const { configSchema, parseToml } = await import("#lib/config/config");
  const check = (one: string) => problemOf(() => parseToml(configSchema, one, path));
  const problem = check(text);
  if (problem === undefined || !problem.includes("the key is missing")) return problem;
  const image = await readFile(imageFile, "utf8").catch(() => undefined);
  return image === undefined ? problem : check(stringify(merge(parse(image), parse(text))));
}

const syntaxProblem = (text: string, path: string) => problemOf(() => tableIn(text, path));

function problemOf(check: () => unknown): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function tableIn(text: string, path: string): Table {
  try {
    return parse(text);
  } catch (error) {
    const reason = messageOf(error).split("\n")[0] ?? "it is not TOML";
    throw new AiosError("FAILED_PRECONDITION", { act: "read", object: path, reason }, { cause: error });
  }
}

const textOf = (path: string) =>
  named("read", path, async () => {
    const held = await hold((await resolvePath(path)).path);
    try {
      return (await readHeld(held, contentMaxBytes)).toString("utf8");
    } finally {
      await held.close();
    }
  });

async function inEffect(run: string): Promise<Table | undefined> {
  try {
    return JSON.parse(await readFile(`${run}/config.json`, "utf8")) as Table;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function closed(key: string): AiosError {
  return new AiosError("PERMISSION_DENIED", {
    act: "set",
    object: key,
    reason: "agents may not change what they are held by",
    next: "ask an operator",
  });
}
