import { readFileSync } from "node:fs";
import { health } from "#lib/health";
import { openLog } from "#lib/log";
import { type Descriptors, reflection } from "#lib/reflection";
import { createServer, listen } from "#lib/server";
import { coreIdentity, identify } from "#lib/service";
import { layout } from "#manifest";
import { initService, type Machine } from "./service.ts";

const serviceName = "aios.init.Init";

/** Serves aios.init.Init, health and reflection on init's socket, for the core daemons. Gives back what ends it. */
export async function serveMachine(machine: Machine): Promise<() => void> {
  const log = openLog("init", "info", (line) => machine.logs.write("init", line));
  const state = health([serviceName]);
  const descriptors = () => JSON.parse(readFileSync(`${layout.lib}/descriptors.json`, "utf8")) as Descriptors;
  const served = [serviceName, "grpc.health.v1.Health"];
  const services = [initService(machine), state.service, reflection(served, descriptors)];
  const server = createServer(services, (call) => identify(coreIdentity, call.metadata), log);
  await listen(server, { path: `${layout.run}/init.sock`, identity: coreIdentity, mode: 0o660 });
  state.set(true);
  return () => server.forceShutdown();
}
