import type { TLSSocket } from "node:tls";
import grpc from "@grpc/grpc-js";
import type { Clock } from "#lib/clock";
import type { Log } from "#lib/log";
import { health } from "#lib/rpc/health";
import { type Descriptors, reflection } from "#lib/rpc/reflection";
import { closeServer, createServer } from "#lib/rpc/server";
import type { Identity, Service } from "#lib/rpc/service";
import { offered, rules } from "./access.ts";
import { openListener, type Welcome } from "./listener.ts";
import type { MachineIdentity } from "./machine-identity.ts";
import { operatorOf } from "./peers.ts";
import { openProxy } from "./proxy.ts";
import { healthOfAll } from "./service.ts";

/** Limits for operators: a connection is asked to begin anew after a day; its streams may go on. */
const operatorOptions = { "grpc.max_connection_age_ms": 86_400_000, "grpc.max_concurrent_streams": 256 };

/** Limits for those of whom nothing is known yet. */
const newcomerOptions = {
  "grpc.max_connection_idle_ms": 30_000,
  "grpc.max_connection_age_ms": 60_000,
  "grpc.max_connection_age_grace_ms": 1_000,
  "grpc.max_concurrent_streams": 4,
  "grpc.max_receive_message_length": 16_384,
};

const closeGraceMs = 1_000;

export interface ConsoleParts {
  readonly where: { readonly host: string; readonly port: number };
  readonly identity: MachineIdentity;
  /** The service for callers without a certificate, and whether they are let in just now. */
  readonly enrolment?: { readonly service: Service; open(): boolean };
  /** A daemon's own socket, for `connect`. */
  address(daemon: string): string;
  /** The descriptors of all protos, read when someone first asks. */
  descriptors(): Descriptors;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Console {
  /** The port it listens on. */
  readonly port: number;
  close(): Promise<void>;
}

/** Opens the management port: operators reach the machine's services through it, newcomers its enrolment. */
export async function openConsole(parts: ConsoleParts): Promise<Console> {
  const { enrolment, clock, log } = parts;
  const proxy = openProxy(rules, parts.address, clock, log);
  const names = [...offered.keys(), "grpc.health.v1.Health"];
  const common = [healthOfAll(offered, parts.address), reflection(names, parts.descriptors)];
  const operators = createServer(common, operatorIdentity, log, operatorOptions);
  proxy.addTo(operators);
  const newcomers = createServer(newcomersServices(enrolment?.service), () => nobody, log, newcomerOptions);
  const welcomeNewcomer = into(newcomers);
  const rooms = {
    operators: into(operators),
    newcomers: () => (enrolment?.open() ? welcomeNewcomer : undefined),
  };
  const listener = await openListener(parts.where, parts.identity, rooms, clock, log);
  return {
    port: listener.port,
    async close() {
      listener.close();
      await Promise.all([operators, newcomers].map((server) => closeServer(server, closeGraceMs)));
      proxy.close();
    },
  };
}

/** Hands connections whose TLS is done to a server. */
function into(server: grpc.Server): Welcome {
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  return (socket: TLSSocket) => injector.injectConnection(socket);
}

function newcomersServices(enrolment: Service | undefined): Service[] {
  if (enrolment === undefined) return [];
  const state = health([]);
  state.set(true);
  return [enrolment, state.service];
}

const nobody: Identity = { kind: "operator", name: "nobody", role: "reader" };

function operatorIdentity(call: grpc.ServerUnaryCall<unknown, unknown>): Identity {
  const certificate = call.getAuthContext().sslPeerCertificate;
  const operator = certificate && operatorOf(certificate);
  return operator === undefined ? nobody : { kind: "operator", name: operator.name, role: operator.role };
}
