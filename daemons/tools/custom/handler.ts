/**
 * A custom tool's handler is a service that an operator runs; it is confined where it is started.
 */
import { lstat, realpath } from "node:fs/promises";
import { AiosError, messageOf } from "#lib/errors";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { beginning, cut } from "#lib/text";
import { ToolHandlerService } from "#proto/aios/tool_handler";
import { type AnyCall, leastRole, type Tool } from "../tool.ts";
import { type CustomTool, refuse } from "./definition.ts";

/** How long a handler gets to say whether it is ready. */
const checkTimeoutMs = 5_000;

const undoTimeoutMs = 60_000;

/** A custom tool with the connection to its handler. */
export interface Handled {
  readonly tool: Tool;
  /** Resolves when the handler says that it is ready. Throws UNAVAILABLE with the reason. */
  check(): Promise<void>;
  close(): void;
}

/** The socket that an address names. Throws INVALID_ARGUMENT when it is none, or one of the machine's own in `run`. */
export async function socketAt(name: string, address: string, run: string): Promise<CustomTool["socket"]> {
  const given = /^unix:(?:\/\/)?(\/[^\0]{1,100})$/.exec(address)?.[1];
  if (given === undefined) throw refuse(name, `${JSON.stringify(address)} is no Unix socket`, "give unix:/path");
  try {
    const path = await realpath(given);
    const { uid } = await socketOf(path);
    if (`${path}/`.startsWith(`${await realpath(run)}/`))
      throw refuse(
        name,
        "its socket is one of the machine's own",
        "serve the handler elsewhere, such as in /run/tools",
      );
    return { path, uid };
  } catch (error) {
    if (error instanceof AiosError) throw error;
    throw refuse(name, `its socket cannot be used: ${messageOf(error)}`, "start the handler first");
  }
}

async function socketOf(path: string): Promise<{ uid: number }> {
  const found = await lstat(path);
  if (!found.isSocket()) throw new Error("it is not a socket");
  return found;
}

/** A custom tool as the pipeline handles it: its run and undo are calls of the handler. */
export function connectTool(custom: CustomTool): Handled {
  const { name, socket } = custom;
  let client: Client<typeof ToolHandlerService> | undefined;
  /** The handler, as long as its socket belongs to who had it when the tool was registered. */
  const handler = async () => {
    const owner = await socketOf(socket.path).catch((error) => {
      throw unavailable(name, `its handler is not there (${messageOf(error)})`);
    });
    if (owner.uid !== socket.uid) throw unavailable(name, "its handler's socket belongs to somebody else now");
    client ??= connect(ToolHandlerService, `unix:${socket.path}`);
    return client;
  };

  const run = async ({ executionId, input, caller, signal }: AnyCall) => {
    const answer = await (await handler()).run(
      {
        executionId,
        toolName: name,
        inputJson: Buffer.from(JSON.stringify(input)),
        callerKind: caller.kind,
        caller: caller.name,
      },
      { timeoutMs: custom.timeoutMs, signal },
    );
    if (!answer.success) throw failed("run", name, answer.error);
    return outputOf(name, answer.outputJson);
  };
  const undo: Tool["undo"] = {
    prepare: async (call) => ({ input: (call as AnyCall).input }),
    restore: async (plan, { executionId }) => {
      const inputJson = Buffer.from(JSON.stringify((plan as { input: unknown }).input));
      const request = { executionId, toolName: name, inputJson };
      const { success, error } = await (await handler()).undo(request, { timeoutMs: undoTimeoutMs });
      if (!success) throw failed("undo", name, error);
    },
  };
  const reads = custom.risk === "low" && custom.idempotent && !custom.reversible;
  const { socket: _, reversible, ...facts } = custom;
  const effect = reads ? "read" : "change";
  const tool = {
    ...facts,
    namespace: name.slice(0, name.indexOf(".")),
    resources: {},
    uses: {},
    callers: ["core", "operator", "agent"],
    effect,
    role: leastRole({ ...facts, effect }),
    ...(!reads && (reversible ? { undo } : { irreversible: "its handler has no way back" })),
    run,
  } as unknown as Tool;
  return {
    tool,
    check: async () => {
      const asked = (await handler()).check({ toolName: name }, { timeoutMs: checkTimeoutMs });
      const { ready, message } = await asked.catch((error: AiosError) => {
        if (error.code !== "DEADLINE_EXCEEDED")
          throw unavailable(name, `its handler fails: ${cut(error.message, 500)}`);
        throw unavailable(name, `its handler did not say within ${checkTimeoutMs / 1000} s whether it is ready`);
      });
      if (!ready) throw unavailable(name, `its handler is not ready: ${cut(message, 500)}`);
    },
    close: () => client?.close(),
  };
}

function outputOf(name: string, json: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(json).toString("utf8"));
  } catch {
    throw failed("run", name, "its handler gave back what is not JSON");
  }
}

function failed(act: string, name: string, error: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act,
    object: name,
    reason: error === "" ? "its handler says that it failed, and not why" : beginning(error, 2000).toWellFormed(),
  });
}

function unavailable(name: string, reason: string): AiosError {
  return new AiosError("UNAVAILABLE", { act: "run", object: name, reason, next: "start its handler" });
}
