import { readFileSync } from "node:fs";
import type grpc from "@grpc/grpc-js";
import { type Clock, systemClock } from "./clock.ts";
import { type Level, type Log, openLog } from "./log.ts";
import { health } from "./rpc/health.ts";
import { type Descriptors, reflection } from "./rpc/reflection.ts";
import { closeServer, createServer, type Endpoint, listen } from "./rpc/server.ts";
import { identify, type Service } from "./rpc/service.ts";
import { agentEndpoints, peerEndpoints, socketPath } from "./rpc/sockets.ts";

/** Where things are; the machine's own paths unless the environment (tests) says otherwise. */
export interface Paths {
  readonly run: string;
  readonly state: string;
  readonly etc: string;
  readonly lib: string;
}

export function pathsFrom(env: NodeJS.ProcessEnv): Paths {
  return {
    run: env["AIOS_RUN_DIR"] ?? "/run/aios",
    state: env["AIOS_STATE_DIR"] ?? "/var/lib/aios",
    etc: env["AIOS_ETC_DIR"] ?? "/etc/aios",
    lib: env["AIOS_LIB_DIR"] ?? "/usr/lib/aios",
  };
}

/** A daemon's means. */
export interface Daemon {
  readonly name: string;
  readonly paths: Paths;
  readonly log: Log;
  readonly clock: Clock;
  /** Address of another daemon's socket for this one, for `connect`. */
  address(daemon: string): string;
}

/** A daemon's services, and how it ends. */
interface Wiring {
  /** The services of every socket; each call says who makes it. */
  services(): readonly Service[];
  /** Listen on one socket per agent beside those of the daemon's peers. */
  readonly servesAgents?: boolean;
  /** Listen here alone, instead of on the sockets of the daemon's peers. */
  readonly endpoint?: Endpoint;
  /** Ready when this has resolved; at once when absent. The daemon ends when it rejects. */
  readonly ready?: Promise<void>;
  /** Ends what `wire` started. Called once, after the last call was answered. */
  close?(): Promise<void> | void;
}

/** Calls in flight get this long to finish when a daemon is told to end. */
const closeGraceMs = 2_000;

/**
 * Runs a daemon: wires it, listens, reports ready, and ends in order at SIGTERM or SIGINT.
 * An exception that nobody caught is logged and ends the process: init starts it again in a known state.
 */
export async function runDaemon(
  name: string,
  env: NodeJS.ProcessEnv,
  wire: (daemon: Daemon) => Promise<Wiring> | Wiring,
): Promise<void> {
  // The image's build makes the code cache of what was evaluated until here.
  if (env["AIOS_EVALUATE_ONLY"] !== undefined) return;
  const paths = pathsFrom(env);
  const log = openLog(name, (env["AIOS_LOG_LEVEL"] as Level | undefined) ?? "info");
  const die = (act: string) => (error: unknown) => {
    log.error(act, { error });
    process.exit(70);
  };
  process.on("uncaughtException", die("ended by an exception"));
  process.on("unhandledRejection", die("ended by a rejected promise"));
  process.umask(0o007);
  const wiring = await wire({
    name,
    paths,
    log,
    clock: systemClock,
    address: (daemon) => `unix:${socketPath(paths.run, daemon, name)}`,
  });
  const endpoints = wiring.endpoint
    ? [wiring.endpoint]
    : [...peerEndpoints(paths.run, name), ...(wiring.servesAgents ? agentEndpoints(paths.run, name) : [])];
  const services = wiring.services();
  const descriptors = () => JSON.parse(readFileSync(`${paths.lib}/descriptors.json`, "utf8")) as Descriptors;
  const opened = await Promise.all(endpoints.map((endpoint) => openEndpoint(endpoint, services, descriptors, log)));
  const end = async (signal: string) => {
    for (const { ready } of opened) ready(false);
    log.info("ending", { signal });
    await Promise.all(opened.map(({ server }) => closeServer(server, closeGraceMs)));
    await wiring.close?.();
    process.exit(0);
  };
  let ending = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (ending) return;
      ending = true;
      end(signal).catch(die("end"));
    });
  }
  await wiring.ready;
  for (const { ready } of opened) ready(true);
  log.info("ready");
}

/** A server of `services` with health and reflection, listening on `endpoint`, not yet ready. */
export async function openEndpoint(
  endpoint: Endpoint,
  services: readonly Service[],
  descriptors: () => Descriptors,
  log: Log,
): Promise<{ server: grpc.Server; ready: (ready: boolean) => void }> {
  const names = services.map(serviceName);
  const state = health(names);
  const all = [...services, state.service, reflection([...names, serviceName(state.service)], descriptors)];
  const server = createServer(all, (call) => identify(endpoint.identity, call.metadata), log);
  await listen(server, endpoint);
  return { server, ready: state.set };
}

/** Full name of a service: "aios.tools.ToolRegistry". */
export function serviceName({ definition }: Service): string {
  return Object.values(definition)[0]?.path.split("/")[1] ?? "";
}
