import { runDaemon } from "#lib/daemon";
import { openOrchestrator } from "./orchestrator.ts";
import { orchestratorService } from "./service.ts";
import { autonomyService, dutiesService, goalControlService, sessionsService } from "./services/index.ts";

runDaemon("orchestrator", process.env, (daemon) => {
  const orchestrator = openOrchestrator({ ...daemon, env: process.env });
  const { goals, tools, known, autonomy, duties, talks } = orchestrator;
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, orchestrator.letGo);
  return {
    services: () => [
      orchestratorService(orchestrator),
      goalControlService(goals, tools, known),
      autonomyService(autonomy),
      dutiesService(duties),
      sessionsService(talks),
    ],
    servesAgents: true,
    ready: orchestrator.resume(),
    close: orchestrator.close,
  };
});
