import { runDaemon } from "#lib/daemon";
import { messageOf } from "#lib/errors";
import { connect } from "#lib/rpc/client";
import { coreIdentity } from "#lib/rpc/service";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { live } from "./agent.ts";
import { orchestratorOver, toolsOver } from "./clients.ts";
import { dutySwitch } from "./duty-switch.ts";
import { ownLoad } from "./load.ts";
import { agentService } from "./service.ts";
import { readSettings } from "./settings.ts";
import { openWork } from "./work.ts";

const settings = readSettings(process.env["AIOS_AGENT"], process.env["AIOS_AGENT_SETTINGS"]);

runDaemon(`agent-${settings.name}`, process.env, ({ paths, log, clock }) => {
  const folder = `${paths.run}/agents/${settings.name}`;
  const tools = connect(ToolRegistryService, `unix:${folder}/tools.sock`);
  const orchestrator = connect(OrchestratorService, `unix:${folder}/orchestrator.sock`);
  const load = ownLoad(clock);
  const callTool = toolsOver(tools, settings);
  const told = orchestratorOver(orchestrator, settings, load);
  const work = openWork(callTool, clock, (task, approval) => {
    told.waits(task, approval).catch((error) => log.debug("it was not told", { reason: messageOf(error) }));
  });
  const stop = new AbortController();

  // The orchestrator holds the other end of this pipe: when it is gone, so is whoever could be told of the work.
  process.stdin
    .on("close", () => process.exit(0))
    .on("error", () => process.exit(0))
    .resume();
  const around = { clock, log, signal: stop.signal, random: Math.random };
  const duty = dutySwitch(async (onDuty) => {
    // Loaded when the machine is up: eight processes start at once during the boot.
    const { startDuties } = await import("./duties/start.ts");
    startDuties(settings.name, (duties) => connect(duties, `unix:${folder}/orchestrator.sock`), callTool, {
      ...around,
      onDuty,
    });
  });
  live(settings, told, work, { ...around, onDuty: duty });

  const end = () => void setImmediate(() => process.kill(process.pid, "SIGTERM"));
  return {
    services: () => [agentService(settings, work, clock, load, end)],
    endpoint: { path: `${folder}/agent.sock`, identity: coreIdentity("orchestrator"), mode: 0o600 },
    close: () => stop.abort(),
  };
});
