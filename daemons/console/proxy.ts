import grpc from "@grpc/grpc-js";
import type { Clock } from "#lib/clock";
import { allows } from "#lib/identity/role";
import { uuidv7 } from "#lib/ids";
import { type Log, withCorrelation } from "#lib/log";
import { channelOptions } from "#lib/rpc/client";
import { correlationHeader, detailsOf } from "#lib/rpc/server";
import { executionHeader, forceHeader, headerOf, operatorHeader, roleHeader } from "#lib/rpc/service";
import type { Rule } from "./access.ts";
import { type Operator, operatorOf } from "./peers.ts";

/**
 * A stream outlives the handshake that let it in, and must not outlive the certificate: it ends with that, or at this age.
 * grpc-js 1.14.7 takes a deadline's milliseconds modulo 2^32: one of over 24.8 days ends a call at once.
 */
const ageMaxMs = 20 * 86_400_000;

type Upward = grpc.ServerDuplexStream<Buffer, Buffer>;
type Downward = grpc.ClientDuplexStream<Buffer, Buffer>;

export interface CallProxy {
  /** Adds the calls of `rules` to a server. */
  addTo(server: grpc.Server): void;
  close(): void;
}

const bytes = (message: Buffer): Buffer => message;

/**
 * Passes calls on to the daemons that answer them, as bytes. On the wire all four kinds of call are a stream of messages
 * each way, so one handler passes on every kind: messages, half-close, back-pressure, deadline, cancellation, status and
 * trailers. `address` gives a daemon's own socket.
 */
export function openProxy(
  rules: readonly Rule[],
  address: (daemon: string) => string,
  clock: Clock,
  log: Log,
): CallProxy {
  const clients = new Map<string, grpc.Client>();
  const clientOf = (daemon: string) => {
    const known = clients.get(daemon);
    if (known !== undefined) return known;
    const client = new grpc.Client(address(daemon), grpc.credentials.createInsecure(), channelOptions);
    clients.set(daemon, client);
    return client;
  };

  const handle = (rule: Rule, call: Upward) => {
    const id = correlationOf(call, clock.now());
    withCorrelation(id, () => {
      const certificate = call.getAuthContext()?.sslPeerCertificate;
      const operator = certificate && operatorOf(certificate);
      const refusal = refuse(rule, operator, clock.now());
      if (refusal !== undefined || operator === undefined) {
        log.warn("refused a call", { path: rule.path, operator: operator?.name, role: operator?.role });
        call.emit("error", refusal ?? unknown);
        return;
      }
      if (rule.least !== "reader") log.info("call", { path: rule.path, operator: operator.name, role: operator.role });
      const passed = clientOf(rule.daemon).makeBidiStreamRequest(rule.path, bytes, bytes, headers(operator, id, call), {
        deadline: Math.min(Number(call.getDeadline()), operator.notAfter, clock.now() + ageMaxMs),
      });
      join(call, passed, rule, () => tooOld(rule, operator, Number(call.getDeadline()), clock.now()));
    });
  };

  return {
    addTo(server) {
      for (const rule of rules) {
        const method = { path: rule.path, requestStream: true, responseStream: true } as const;
        const raw = {
          requestSerialize: bytes,
          requestDeserialize: bytes,
          responseSerialize: bytes,
          responseDeserialize: bytes,
        };
        server.addService({ call: { ...method, ...raw } }, { call: (call: Upward) => handle(rule, call) });
      }
    },
    close() {
      for (const client of clients.values()) client.close();
    },
  };
}

/** Ties the two ends of a call together. */
function join(call: Upward, passed: Downward, rule: Rule, ended: () => Partial<grpc.StatusObject> | undefined): void {
  call.on("cancelled", () => passed.cancel());
  call.pipe(asWritable(passed));
  passed.on("metadata", (metadata) => call.sendMetadata(metadata));
  passed.pipe(asWritable(call), { end: false });
  // The status may come while messages wait for the caller to read: it is passed on after the last of them.
  const read = new Promise<void>((resolve) => passed.once("end", resolve));
  passed.on("status", async (status: grpc.StatusObject) => {
    await read;
    if (status.code === grpc.status.OK) call.end(status.metadata);
    else
      call.emit("error", (status.code === grpc.status.DEADLINE_EXCEEDED ? ended() : undefined) ?? reword(status, rule));
  });
  // Every error is a status too, but one that nobody listens for ends the process.
  passed.on("error", () => {});
}

/** grpc-js's types of streams lack an undefined that Node's have. */
const asWritable = (stream: Upward | Downward) => stream as unknown as NodeJS.WritableStream;

/**
 * The headers that go further: of a client's own only the correlation id, the id that it chose for a tool's execution
 * and the word that a rollback is forced. What daemons believe of a caller is set here, and whose execution it is they
 * see by that.
 */
function headers(operator: Operator, id: string, { metadata: sent }: Upward): grpc.Metadata {
  const metadata = new grpc.Metadata();
  metadata.set(operatorHeader, operator.name);
  metadata.set(roleHeader, operator.role);
  metadata.set(correlationHeader, id);
  for (const name of [executionHeader, forceHeader]) {
    const said = headerOf(sent, name);
    if (said !== undefined) metadata.set(name, said);
  }
  return metadata;
}

function correlationOf(call: Upward, nowMs: number): string {
  const sent = call.metadata.get(correlationHeader)[0];
  return typeof sent === "string" && /^[\w-]{1,64}$/.test(sent) ? sent : uuidv7(nowMs);
}

const unknown = { code: grpc.status.UNAUTHENTICATED, details: "this connection shows no operator's certificate" };

/** Why a call is not passed on; undefined when it is. */
function refuse(rule: Rule, operator: Operator | undefined, nowMs: number): Partial<grpc.StatusObject> | undefined {
  if (operator === undefined) return unknown;
  const { name, role, notAfter } = operator;
  if (notAfter <= nowMs) return expired(rule, name);
  if (rule.least !== undefined && allows(role, rule.least)) return undefined;
  const reason =
    rule.least === undefined
      ? "only the machine's own daemons and agents make this call"
      : `it needs the role ${rule.least}, and ${name} is ${role}; ask an admin`;
  return { code: grpc.status.PERMISSION_DENIED, details: `call ${rule.path}: ${reason}` };
}

/** Why a call whose deadline has passed was ended, where that was not the caller's own. */
function tooOld(rule: Rule, { name, notAfter }: Operator, deadlineMs: number, nowMs: number) {
  if (notAfter <= nowMs) return expired(rule, name);
  if (deadlineMs <= nowMs) return undefined;
  const details = `call ${rule.path}: it has been open for ${ageMaxMs / 86_400_000} days; make it again`;
  return { code: grpc.status.UNAVAILABLE, details };
}

function expired({ path }: Rule, name: string): Partial<grpc.StatusObject> {
  const details = `call ${path}: the certificate of ${name} has expired; ask an admin for a new one`;
  return { code: grpc.status.UNAUTHENTICATED, details };
}

/** A daemon that is not there is told in words of the machine, without paths of its sockets. */
function reword(status: grpc.StatusObject, { path, daemon }: Rule): Partial<grpc.StatusObject> {
  if (status.code !== grpc.status.UNAVAILABLE || !/No connection|ECONNREFUSED|ENOENT/.test(status.details))
    return { ...status, details: detailsOf(status.details) };
  return { ...status, details: `call ${path}: ${daemon} does not answer; see "aiosctl units"` };
}
