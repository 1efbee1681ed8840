import { expect, it } from "vitest";
import { service } from "#lib/rpc/service";
import { AgentService } from "#proto/aios/agent";
import { ApiGatewayService, SecretsService } from "#proto/aios/api_gateway";
import { AutonomyService } from "#proto/aios/autonomy";
import { DutiesService } from "#proto/aios/duties";
import { GoalControlService } from "#proto/aios/goal_control";
import { InitService } from "#proto/aios/init";
import { EventJournalService } from "#proto/aios/journal";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryAdminService } from "#proto/aios/memory_admin";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { AIRuntimeService } from "#proto/aios/runtime";
import { SessionsService } from "#proto/aios/sessions";
import { ToolRegistryService } from "#proto/aios/tools";
import { agentService } from "../daemons/agents/service.ts";
import { secretsService } from "../daemons/gateway/secrets-service.ts";
import { gatewayService } from "../daemons/gateway/service.ts";
import { initService } from "../daemons/init/service.ts";
import { memoryAdminService } from "../daemons/memory/admin/service.ts";
import { journalService } from "../daemons/memory/journal/service.ts";
import { memoryQueryService, memoryService } from "../daemons/memory/service.ts";
import { orchestratorService } from "../daemons/orchestrator/service.ts";
import { autonomyService } from "../daemons/orchestrator/services/autonomy-service.ts";
import { dutiesService } from "../daemons/orchestrator/services/duties-service.ts";
import { goalControlService } from "../daemons/orchestrator/services/goal-control-service.ts";
import { sessionsService } from "../daemons/orchestrator/services/sessions-service.ts";
import { runtimeService } from "../daemons/runtime/service.ts";
import { toolsService } from "../daemons/tools/service.ts";

/** Stands for whatever a service is made from: none of it is used, only the calls that the service has are looked at. */
// biome-ignore lint/suspicious/noExplicitAny: it stands for any dependency
const anything: any = new Proxy(() => anything, { get: () => anything });

const services = [
  service(AgentService, agentService(anything, anything, anything, anything, anything).handlers),
  service(ApiGatewayService, gatewayService(anything).handlers),
  service(SecretsService, secretsService(anything).handlers),
  service(InitService, initService(anything).handlers),
  service(MemoryServiceService, memoryService(anything).handlers),
  service(MemoryQueryService, memoryQueryService(anything).handlers),
  service(MemoryAdminService, memoryAdminService(anything).handlers),
  service(EventJournalService, journalService(anything).handlers),
  service(AutonomyService, autonomyService(anything).handlers),
  service(DutiesService, dutiesService(anything).handlers),
  service(GoalControlService, goalControlService(anything, anything, anything).handlers),
  service(SessionsService, sessionsService(anything).handlers),
  service(OrchestratorService, orchestratorService(anything).handlers),
  service(AIRuntimeService, runtimeService(anything, anything).handlers),
  service(ToolRegistryService, toolsService(anything).handlers),
];

/** Calls that answer UNIMPLEMENTED as yet. This list shrinks to nothing; nothing is added to it. */
const unimplemented: readonly string[] = [];

it("every call of the protos is implemented, but for those listed here", () => {
  const missing = services.flatMap(({ definition, handlers }) =>
    Object.entries(definition)
      .filter(([name]) => !(name in handlers))
      .map(([, method]) => method.path.slice(1)),
  );
  expect(missing.sort()).toEqual([...unimplemented].sort());
});
