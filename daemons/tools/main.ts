import { runDaemon } from "#lib/daemon";
import { connect } from "#lib/rpc/client";
import { InitService } from "#proto/aios/init";
import { holdingService } from "./holding-service.ts";
import { rolesService } from "./roles-service.ts";
import { toolsService } from "./service.ts";
import { openTools } from "./tools.ts";

runDaemon("tools", process.env, async ({ paths, clock, log, address }) => {
  const init = connect(InitService, address("init"));
  const tools = await openTools({ paths, init, clock, log });
  return {
    services: () => [toolsService(tools), holdingService(tools.holding), rolesService(tools.registry)],
    servesAgents: true,
    close: () => {
      init.close();
      tools.close();
    },
  };
});
