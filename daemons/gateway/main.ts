import { effectiveConfig } from "#lib/config/effective";
import { runDaemon } from "#lib/daemon";
import { dataUnreadable, keysOutOfReach } from "#lib/data/machine-state";
import { opening, restartSoon, watchDamage } from "#lib/data/watchful";
import { connect } from "#lib/rpc/client";
import { mapErrors } from "#lib/rpc/map-errors";
import { MemoryServiceService } from "#proto/aios/memory";
import { alertTo } from "./alerts.ts";
import { openGatewayDatabase, remedy, secretsKeyIn } from "./database.ts";
import { openGateway } from "./gateway.ts";
import { openLanes } from "./lanes.ts";
import { keepSoundKey, openSecrets } from "./secrets.ts";
import { secretsService } from "./secrets-service.ts";
import { gatewayService } from "./service.ts";
import { settingsOf } from "./settings.ts";
import { openUsage } from "./usage.ts";

runDaemon("gateway", process.env, async ({ paths, clock, log, address }) => {
  const settings = settingsOf(effectiveConfig(paths.run));
  if (settings.unknown.length > 0) log.warn("gateway.order names providers that are none", { names: settings.unknown });
  const folder = `${paths.state}/gateway`;
  const lost = (what: string) => log.error(what);
  const database = openGatewayDatabase(`${folder}/usage.db`, clock, lost);
  const noticed = watchDamage({
    files: [database.name],
    ...{ what: "what was spent, and the keys", next: remedy, log, restart: restartSoon },
  });
  keepSoundKey(secretsKeyIn(folder), clock, lost);
  const refusal = dataUnreadable(paths.run) ? keysOutOfReach("seal", "a provider's key") : undefined;
  const secrets = openSecrets(database, secretsKeyIn(folder), clock, refusal);
  const usage = await opening(noticed, () => openUsage(database, clock, log));
  const memory = connect(MemoryServiceService, address("memory"));
  const alert = alertTo(memory, clock, log);
  const lanes = openLanes(settings, { usage, secrets, clock, log, random: Math.random, alert });
  const gateway = openGateway(lanes, settings, usage, clock);
  return {
    services: () => [mapErrors(gatewayService(gateway), noticed), mapErrors(secretsService(secrets), noticed)],
    close: () => {
      memory.close();
      database.close();
    },
  };
});
