import { readFileSync } from "node:fs";
import { openEndpoint } from "#lib/daemon";
import { openLog } from "#lib/log";
import type { Descriptors } from "#lib/rpc/reflection";
import { peerEndpoints } from "#lib/rpc/sockets";
import { layout } from "#manifest";
import { initService, type Machine } from "./service.ts";

/** Serves aios.init.Init, health and reflection to the peers of init. Gives back what ends it. */
export async function serveMachine(machine: Machine): Promise<() => void> {
  const log = openLog("init", "info", (line) => machine.logs.write("init", line));
  const descriptors = () => JSON.parse(readFileSync(`${layout.lib}/descriptors.json`, "utf8")) as Descriptors;
  const services = [initService(machine)];
  const opened = await Promise.all(
    peerEndpoints(layout.run, "init").map((endpoint) => openEndpoint(endpoint, services, descriptors, log)),
  );
  for (const { ready } of opened) ready(true);
  return () => {
    for (const { server } of opened) server.forceShutdown();
  };
}
