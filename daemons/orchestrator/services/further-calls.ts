import { AiosError } from "#lib/errors";
import { executionHeader, type Handlers, headerOf } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import { Task as TaskType } from "#proto/aios/common";
import type { OrchestratorService } from "#proto/aios/orchestrator";
import type { Assignments } from "../agents/index.ts";
import { type Goals, subTaskGoal } from "../goals/index.ts";
import type { Further, Schedule } from "../initiative/index.ts";
import { agentOf, nameOf, ownAgent, refuseAgents, roleOf } from "./callers.ts";

/** Updates of progress that are taken from one stream in a second; faster ones are passed over. */
const progressIntervalMs = 200;
const progressMessageLengthMax = 200;
const idLengthMax = 64;

type Calls = Handlers<typeof OrchestratorService>;

/** The calls of aios.orchestrator.Orchestrator beside those of service.ts. */
export function furtherCalls(goals: Goals, assignments: Pick<Assignments, "waits">, further: Further): Calls {
  return {
    ...capabilityCalls(further),
    ...scheduleCalls(further),
    ...placeCalls(further),
    requestSubTask: async ({ parentTaskId, description, targetAgent }, { identity }) => {
      const agent = agentOf(identity, "ask for a sub task");
      further.usage.count(agent);
      // It belongs to a goal that somebody has given.
      further.autonomy.permit("person");
      const parent = goals.holder(parentTaskId);
      if (parent === undefined) {
        throw new AiosError("NOT_FOUND", `take a sub task of ${parentTaskId}: no task that runs has this id`);
      }
      const submission = subTaskGoal(parent, { agent, description, targetAgent }, goals.childrenOf(parentTaskId));
      const id = await goals.submit(submission);
      return TaskType.fromPartial({
        ...{ id, goalId: id, description, assignedAgent: targetAgent, status: "pending" },
        createdAt: (await goals.find(id)).createdAt,
      });
    },
    requestInference: async (request, { identity, signal }) => {
      if (identity.kind === "agent") {
        further.usage.count(identity.name);
        further.autonomy.permit("person");
      }
      const asker = identity.kind === "agent" ? identity.name : request.requestingAgent || nameOf(identity);
      return await further.infer(request, asker, signal);
    },
    streamProgress: async (updates, { identity }) => {
      const agent = agentOf(identity, "report progress");
      let taken = 0;
      let last = Number.NEGATIVE_INFINITY;
      for await (const { taskId, progress, message, waitsFor } of updates) {
        const now = performance.now();
        // The end is always told, and who waits for a person.
        if (now - last < progressIntervalMs && progress < 1 && waitsFor === "") continue;
        last = now;
        const words = beginning(message, progressMessageLengthMax);
        if (waitsFor !== "") assignments.waits(agent, taskId, beginning(waitsFor, idLengthMax));
        else goals.progress(agent, taskId, { share: clamp(progress), message: words });
        taken += 1;
      }
      return { success: true, message: `${taken} updates taken` };
    },
  };
}

function capabilityCalls({ capabilities, usage }: Further): Calls {
  return {
    requestCapability: async (request, { identity }) => {
      const agent = ownAgent(identity, request.agentId, "ask for capabilities of");
      if (identity.kind === "agent") usage.count(agent);
      const answer = await capabilities.request(agent, request.capabilities, request.reason, request.durationHours);
      if ("denial" in answer) return { granted: false, capabilities: [], expiresAt: "", denialReason: answer.denial };
      const expiresAt = new Date(answer.expiresAt).toISOString();
      return { granted: true, capabilities: request.capabilities, expiresAt, denialReason: "" };
    },
    revokeCapability: async ({ agentId, capabilities: named, revokeAll }, { identity }) => {
      const agent = ownAgent(identity, agentId, "revoke capabilities of");
      if (!revokeAll && named.length === 0) {
        throw new AiosError(
          "INVALID_ARGUMENT",
          `revoke capabilities of ${agent}: none is named; name some, or revoke_all`,
        );
      }
      const count = await capabilities.revoke(agent, revokeAll ? "all" : named);
      return { success: true, message: `${count} grants ended` };
    },
  };
}

function scheduleCalls({ schedules }: Further): Calls {
  return {
    createSchedule: async ({ cronExpr, goalTemplate, priority, timeZone }, { identity, metadata }) => {
      refuseAgents(identity, "create a schedule");
      const wanted = {
        id: headerOf(metadata, executionHeader),
        cron: cronExpr,
        timeZone: timeZone || "UTC",
        goal: goalTemplate,
        priority,
      };
      const { id } = await schedules.create({ ...wanted, by: nameOf(identity), role: roleOf(identity) });
      return { scheduleId: id, success: true };
    },
    listSchedules: (_, { identity }) => {
      refuseAgents(identity, "list schedules");
      return { schedules: schedules.list().map(scheduleMessage) };
    },
    deleteSchedule: ({ scheduleId }, { identity }) => {
      refuseAgents(identity, "delete a schedule");
      schedules.remove(scheduleId);
      return { success: true, message: `schedule ${scheduleId} is removed` };
    },
  };
}

function scheduleMessage({ id, cron, goal, priority, lastRun, nextRun, timeZone, lastGoal }: Schedule) {
  const what = { id, cronExpr: cron, goalTemplate: goal, priority, timeZone };
  return { ...what, enabled: nextRun > 0, lastRun, nextRun, lastGoal };
}

function placeCalls({ nodes, registry, usage }: Further): Calls {
  return {
    registerNode: ({ nodeId, hostname, address, agents }, { identity }) => {
      refuseAgents(identity, "register a node");
      nodes.register({ id: nodeId, hostname, address, agents });
      return { success: true, message: "registered" };
    },
    nodeHeartbeat: ({ nodeId, cpuUsage, memoryUsage, activeTasks }, { identity }) => {
      refuseAgents(identity, "beat for a node");
      nodes.beat(nodeId, { cpuUsage, memoryUsage, activeTasks });
      return { success: true, message: "" };
    },
    listNodes: ({ includeDead }) => ({
      nodes: nodes.list(includeDead).map(({ id, agents, ...node }) => ({ ...node, nodeId: id, agents: [...agents] })),
    }),
    registerService: (request, { identity }) => {
      if (identity.kind === "agent") usage.count(identity.name);
      const { name, address, port, protocol, healthCheckPath, managedBy } = request;
      const registeredBy = nameOf(identity);
      registry.register({ name, address, port, protocol, healthCheckPath, managedBy, registeredBy });
      return { success: true, message: `service ${name} is registered` };
    },
    findService: ({ name }) => {
      const { registeredBy: _, ...found } = registry.find(name);
      return found;
    },
  };
}

const clamp = (share: number) => (Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : 0);
