/** aios-memory and aios-tools as small as they can be, for tests: real services on real sockets, kept in this process. */
import { readFileSync, writeFileSync } from "node:fs";
import type grpc from "@grpc/grpc-js";
import { systemClock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { silentLog } from "#lib/log";
import { createServer, listen } from "#lib/rpc/server";
import {
  coreIdentity,
  executionHeader,
  headerOf,
  type Identity,
  type Service,
  service,
  withdrawHeader,
} from "#lib/rpc/service";
import { openPeer } from "#lib/testing/sockets";
import { type GoalRecord, MemoryServiceService, type TaskRecord } from "#proto/aios/memory";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { type ExecuteRequest, ToolDefinition, ToolRegistryService } from "#proto/aios/tools";

interface Twin {
  close(): void;
}

async function serve(
  services: Service[],
  sockets: readonly { path: string; identity: Identity }[],
): Promise<() => void> {
  const servers: grpc.Server[] = [];
  for (const { path, identity } of sockets) {
    const server = createServer(services, () => identity, silentLog);
    await listen(server, { path, identity, mode: 0o660 });
    servers.push(server);
  }
  return () => {
    for (const server of servers) server.forceShutdown();
  };
}

export interface MemoryTwin extends Twin {
  readonly goals: Map<string, GoalRecord>;
  readonly tasks: Map<string, TaskRecord>;
}

const over = ["completed", "failed", "cancelled"];

/** Keeps goals and tasks; pass the maps of one that was closed to go on with what it had. */
export async function memoryTwin(
  path: string,
  goals = new Map<string, GoalRecord>(),
  tasks = new Map<string, TaskRecord>(),
): Promise<MemoryTwin> {
  const find = (id: string): GoalRecord => {
    const goal = goals.get(id);
    if (goal === undefined) throw new AiosError("NOT_FOUND", `no goal ${id}`);
    return goal;
  };
  const memory = service(MemoryServiceService, {
    storeGoal: (goal) => {
      goals.set(goal.id, goal);
      return {};
    },
    updateGoal: ({ id, status, result }) => {
      goals.set(id, { ...find(id), status, result, completedAt: over.includes(status) ? systemClock.now() : 0 });
      return {};
    },
    getActiveGoals: () => ({ goals: [...goals.values()].filter(({ status }) => !over.includes(status)) }),
    storeTask: (task) => {
      tasks.set(task.id, task);
      return {};
    },
    getTasksForGoal: ({ goalId }) => ({ tasks: [...tasks.values()].filter((task) => task.goalId === goalId) }),
  });
  const query = service(MemoryQueryService, {
    getGoal: ({ goalId }) => find(goalId),
    listGoals: ({ status, limit, cursor, offset }) => {
      const all = [...goals.values()].reverse().filter((goal) => status === "" || goal.status === status);
      const from = Number(cursor || 0) + offset;
      const next = from + (limit || 50);
      return { goals: all.slice(from, next), nextCursor: next < all.length ? String(next) : "", total: all.length };
    },
  });
  const close = await serve([memory, query], [{ path, identity: coreIdentity("orchestrator") }]);
  return { goals, tasks, close };
}

interface ToolCall {
  /** The execution's. */
  readonly id: string;
  readonly caller: string;
  readonly tool: string;
  readonly taskId: string;
  readonly state: "open" | "done" | "failed" | "refused";
  readonly output: string;
  readonly error: string;
}

type Run = (input: Record<string, string>, signal: AbortSignal) => unknown;

export interface ToolTwin {
  readonly capabilities: readonly string[];
  readonly idempotent: boolean;
  readonly run: Run;
}

export interface ToolsTwin extends Twin {
  readonly calls: ToolCall[];
  /** Capabilities in force: agent → task → capabilities. */
  readonly grants: Map<string, Map<string, readonly string[]>>;
}

/** Tells what is known of an execution; begins what is not, or, withdrawn, lets it never begin. */
function openOnce() {
  const ledger = new Map<string, Promise<string>>();
  const running = new Map<string, Promise<string>>();
  return (id: string, withdraw: boolean, begin: () => Promise<string>): Promise<string> => {
    const now = running.get(id);
    if (now !== undefined && withdraw) throw new AiosError("FAILED_PRECONDITION", `withdraw ${id}: it is running`);
    if (now !== undefined) return now;
    const known = ledger.get(id);
    if (known !== undefined) return known;
    const work = withdraw
      ? Promise.reject(new AiosError("ABORTED", `execute ${id}: withdrawn by its caller before it began`))
      : begin();
    ledger.set(id, work);
    if (!withdraw) running.set(id, work);
    work.catch(() => {}).finally(() => running.delete(id));
    return work;
  };
}

/** Runs tools for real, with grants by agent and task, and a ledger of calls. */
export async function toolsTwin(
  run: string,
  agents: readonly string[],
  more: Record<string, ToolTwin>,
): Promise<ToolsTwin> {
  const grants: ToolsTwin["grants"] = new Map();
  const calls: ToolCall[] = [];
  const tools: Record<string, ToolTwin> = { ...files, ...more };

  const sec: Record<string, (input: SecInput) => unknown> = {
    "sec.grant": ({ agent_id, capabilities = [], task_id = "" }) => {
      grants.set(agent_id, (grants.get(agent_id) ?? new Map()).set(task_id, capabilities));
      return { granted: capabilities, expires_at: 0 };
    },
    "sec.revoke": ({ agent_id, task_id, revoke_all }) => {
      if (revoke_all) grants.delete(agent_id);
      else grants.get(agent_id)?.delete(task_id ?? "");
      return { revoked_count: 1 };
    },
    "sec.audit": ({ execution_id }) => ({
      entries: calls
        .filter(({ id }) => id === execution_id)
        .map(({ id, ...call }) => ({ execution_id: id, ...call, reversible: false })),
    }),
  };
  const permits = (agent: string, tool: ToolTwin, input: Record<string, string>): boolean => {
    const held = [...(grants.get(agent) ?? new Map<string, string[]>()).values()].flat();
    const needed = tool.capabilities.map((text) => text.replace(/\{(\w+)\}/, (_, field: string) => input[field] ?? ""));
    return needed.every((one) => held.includes(one));
  };
  const once = openOnce();
  const execute = async (request: ExecuteRequest, id: string, identity: Identity, signal: AbortSignal) => {
    const { toolName, taskId, inputJson } = request;
    const input = JSON.parse(inputJson.toString());
    if (identity.kind === "core") return JSON.stringify(sec[toolName]?.(input));
    const tool = tools[toolName];
    if (tool === undefined) throw new AiosError("NOT_FOUND", `no tool ${toolName}`);
    const call = { id, caller: identity.name, tool: toolName, taskId, output: "", error: "" };
    if (!permits(identity.name, tool, input)) {
      calls.unshift({ ...call, state: "refused" });
      throw new AiosError("PERMISSION_DENIED", `${identity.name} may not ${toolName}`);
    }
    const entry = { ...call, state: "open" as ToolCall["state"] };
    calls.unshift(entry);
    try {
      entry.output = JSON.stringify(await tool.run(input, signal));
      entry.state = "done";
      return entry.output;
    } catch (error) {
      entry.state = "failed";
      throw error;
    }
  };
  const registry = service(ToolRegistryService, {
    getTool: ({ name }) => {
      const tool = tools[name];
      if (tool === undefined) throw new AiosError("NOT_FOUND", `no tool ${name}`);
      const { capabilities, idempotent } = tool;
      return ToolDefinition.fromPartial({
        name,
        requiredCapabilities: [...capabilities],
        idempotent,
        timeoutMs: 5_000,
      });
    },
    execute: async (request, { identity, signal, metadata }) => {
      const id = headerOf(metadata, executionHeader);
      if (id === undefined) throw new AiosError("INVALID_ARGUMENT", `execute ${request.toolName}: it has no id`);
      const withdraw = headerOf(metadata, withdrawHeader) === "yes";
      const answer = { executionId: id, durationMs: 0, backupId: "" };
      try {
        const output = await once(id, withdraw, () => execute(request, id, identity, signal));
        return { ...answer, success: true, outputJson: Buffer.from(output), error: "" };
      } catch (error) {
        if (error instanceof AiosError) throw error;
        return { ...answer, success: false, outputJson: Buffer.alloc(0), error: messageOf(error) };
      }
    },
  });
  const close = await serve(
    [registry],
    [
      { path: openPeer(run, "tools", "orchestrator"), identity: coreIdentity("orchestrator") },
      ...agents.map((name) => ({
        path: `${run}/agents/${name}/tools.sock`,
        identity: { kind: "agent", name } as const,
      })),
    ],
  );
  return { calls, grants, close };
}

interface SecInput {
  readonly agent_id: string;
  readonly capabilities?: readonly string[];
  readonly task_id?: string;
  readonly revoke_all?: boolean;
  readonly execution_id?: string;
}

const files: Record<string, ToolTwin> = {
  "fs.read": {
    capabilities: ["fs:read:{path}"],
    idempotent: true,
    run: ({ path = "" }) => {
      const content = readFileSync(path, "utf8");
      return { content, size: Buffer.byteLength(content) };
    },
  },
  "fs.write": {
    capabilities: ["fs:write:{path}"],
    idempotent: true,
    run: ({ path = "", content = "" }) => {
      writeFileSync(path, content);
      return { bytes_written: Buffer.byteLength(content) };
    },
  },
  "monitor.disk": {
    capabilities: ["monitor:read"],
    idempotent: true,
    run: () => ({ total_gb: 10, used_gb: 4, available_gb: 6, percent: 40 }),
  },
};
