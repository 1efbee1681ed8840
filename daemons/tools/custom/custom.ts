import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { allows } from "#lib/identity/role";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import type { Identity } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import type { RegisterToolRequest } from "#proto/aios/tools";
import type { Limits, Policies, Registry } from "../access/index.ts";
import type { Ledger } from "../ledger/index.ts";
import { conclude, type Facts, intent, refusal, type Validation } from "../pipeline/index.ts";
import { openDocuments, type State } from "../state/index.ts";
import { type CustomTool, readDefinition, refuse } from "./definition.ts";
import { connectTool, type Handled, socketAt } from "./handler.ts";

/** Custom tools at most. */
const toolsMax = 100;

/** How often handlers are asked whether they are ready. */
const checkEveryMs = 30_000;

/** Tools that operators add: served by programs of their own, kept over restarts, watched. */
export interface CustomTools {
  /** Adds or replaces a tool. Throws PERMISSION_DENIED for agents, INVALID_ARGUMENT and UNAVAILABLE with what is wrong. */
  register(request: RegisterToolRequest, caller: Identity): Promise<void>;
  /** Throws PERMISSION_DENIED for agents, NOT_FOUND when no custom tool has this name. */
  deregister(name: string, caller: Identity): Promise<void>;
  close(): void;
}

interface CustomParts {
  readonly registry: Registry;
  readonly state: State;
  readonly validation: Validation;
  readonly ledger: Ledger;
  readonly limits: Limits;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly log: Log;
  /** The folder of the machine's own sockets. */
  readonly run: string;
}

export function openCustomTools(parts: CustomParts): CustomTools {
  const { registry, state, validation, clock, log } = parts;
  const documents = openDocuments<CustomTool>(state, "custom-tool");
  const ours = new Set(registry.list("").map(({ namespace }) => namespace));
  const tools = new Map<string, Handled>();
  const over = new AbortController();

  const add = (custom: CustomTool, one = connectTool(custom)) => {
    registry.add(one.tool);
    tools.get(custom.name)?.close();
    tools.set(custom.name, one);
  };
  for (const custom of documents.list(toolsMax)) {
    // A namespace that an update of the image took: its own tools come first.
    if (ours.has(custom.name.split(".")[0] ?? ""))
      log.error("a custom tool gives way to the machine's own", { tool: custom.name });
    else add(custom);
  }
  watch(tools, clock, log, over.signal).catch(() => {});

  const register = async ({ tool, handlerAddress }: RegisterToolRequest) => {
    const read = readDefinition(tool, ours);
    const custom = { ...read, socket: await socketAt(read.name, handlerAddress, parts.run) };
    if (!tools.has(custom.name) && tools.size >= toolsMax)
      throw refuse(custom.name, `there are ${toolsMax} custom tools`, "deregister one first");
    const one = connectTool(custom);
    try {
      await validation.compile(one.tool).catch((error) => {
        throw refuse(custom.name, `its schema is none: ${messageOf(error)}`, "correct it");
      });
      registry.check(one.tool);
      await one.check();
      await documents.put(custom.name, custom);
    } catch (error) {
      one.close();
      throw error;
    }
    add(custom, one);
  };
  const deregister = async (name: string) => {
    const one = tools.get(name);
    if (one === undefined)
      throw new AiosError("NOT_FOUND", `deregister ${beginning(name, 128)}: there is no such custom tool`);
    await documents.remove(name);
    tools.delete(name);
    registry.remove(name);
    one.close();
  };

  return {
    register: (request, caller) => {
      const input = { name: request.tool?.name ?? "", handler_address: request.handlerAddress };
      return recorded(parts, "register", input, caller, () => register(request));
    },
    deregister: (name, caller) => recorded(parts, "deregister", { name }, caller, () => deregister(name)),
    close: () => {
      over.abort();
      for (const { close } of tools.values()) close();
    },
  };
}

/** Carries out a change of the registry as any other: its intent first, its outcome before the answer; agents make none. */
async function recorded(
  { ledger, limits, policies, clock }: CustomParts,
  tool: string,
  input: object,
  caller: Identity,
  act: () => Promise<void>,
): Promise<void> {
  const policy = await policies.current();
  const { redaction } = policy;
  const executionId = uuidv7(clock.now());
  const said = JSON.stringify(input);
  const facts: Facts = { executionId, caller, agentId: "", tool, taskId: "", reason: "", input: said, redaction };
  if (caller.kind === "agent" || (caller.kind === "operator" && !allows(caller.role, "admin"))) {
    const who =
      caller.kind === "agent" ? "agents may not" : `it needs the role admin, and ${caller.name} is ${caller.role}`;
    const error = new AiosError("PERMISSION_DENIED", `${tool} a tool: ${who}; ask an admin`);
    limits.takeRefusal(tool, caller, policy);
    await ledger.append(refusal(facts, error.message));
    throw error;
  }
  await ledger.append(intent(facts));
  const started = clock.monotonic();
  const failure = await act().then(
    () => undefined,
    (error: unknown) => error ?? new Error("failed"),
  );
  const error = failure === undefined ? "" : messageOf(failure);
  const durationMs = Math.round(clock.monotonic() - started);
  await conclude(ledger, facts, { success: failure === undefined, output: "{}", error, durationMs });
  if (failure !== undefined) throw failure;
}

/** Asks every handler from time to time, and logs when one goes and when it is back. */
async function watch(tools: ReadonlyMap<string, Handled>, clock: Clock, log: Log, signal: AbortSignal): Promise<void> {
  const away = new Set<string>();
  for (;;) {
    await clock.sleep(checkEveryMs, signal);
    for (const [name, { check }] of [...tools]) {
      const problem = await check().then(() => undefined, messageOf);
      if (problem !== undefined && !away.has(name)) log.warn("a custom tool cannot be run", { tool: name, problem });
      if (problem === undefined && away.has(name)) log.info("a custom tool can be run again", { tool: name });
      if (problem === undefined) away.delete(name);
      else away.add(name);
    }
  }
}
