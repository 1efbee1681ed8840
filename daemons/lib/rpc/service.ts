import type { Metadata, MethodDefinition } from "@grpc/grpc-js";
import { AiosError } from "../errors.ts";
import { type Role, roles } from "../identity/role.ts";
import { isUuid } from "../ids.ts";
import { beginning } from "../text.ts";

/** A service as ts-proto describes it: method name → definition. */
// biome-ignore lint/suspicious/noExplicitAny: grpc-js definitions are invariant in their message types
export type ServiceDefinition = Record<string, MethodDefinition<any, any>>;

type RequestOf<M> = M extends { requestSerialize: (value: infer T) => Buffer } ? T : never;
type ResponseOf<M> = M extends { responseDeserialize: (value: Buffer) => infer T } ? T : never;

/** The caller: bound to the socket or the certificate that the call came through, never to what a message says. */
export type Identity =
  /** The daemon's name: "orchestrator". */
  { readonly kind: "core"; readonly name: string } | { readonly kind: "agent"; readonly name: string } | Person;

/** Somebody whose call the console has passed on, with what the certificate says that they may do; or who is at root's shell. */
export interface Person {
  readonly kind: "operator";
  readonly name: string;
  readonly role: Role;
}

/** A daemon, as the one whose socket it came through. */
export const coreIdentity = (daemon: string): Identity => ({ kind: "core", name: daemon });

/** The command line on the machine itself, and who uses it: a person at root's shell. */
const shell = { peer: "ctl", operator: { kind: "operator", name: "root", role: "admin" } } as const satisfies {
  peer: string;
  operator: Identity;
};

/** The identity of `peer`, whom a socket is for: a daemon, or the machine's own shell. */
export function identityOf(peer: string): Identity {
  return peer === shell.peer ? shell.operator : coreIdentity(peer);
}

/** Set by the console on calls that it passes on: the operator's name, as the client certificate gives it. */
export const operatorHeader = "x-aios-operator";

/** Set beside {@link operatorHeader}: the operator's role. */
export const roleHeader = "x-aios-role";

/** Speaks for operators: it alone has seen their certificates. */
const doorkeeper = "console";

/** The identity behind a call that came through the socket of `peer`. Only the console speaks for others. */
export function identify(peer: Identity, metadata: Metadata): Identity {
  const name = headerOf(metadata, operatorHeader);
  if (peer.kind !== "core" || peer.name !== doorkeeper || name === undefined) return peer;
  const said = headerOf(metadata, roleHeader);
  // A role that is missing, or that this version does not know, is the least: nobody gets further by leaving it out.
  return { kind: "operator", name, role: roles.find((role) => role === said) ?? "reader" };
}

/** A handler's knowledge of a call beside its request. */
export interface Call {
  readonly identity: Identity;
  /** Aborted when the caller cancels, goes away, or its deadline passes. */
  readonly signal: AbortSignal;
  readonly metadata: Metadata;
  /** The other end of the connection: "ADDRESS:PORT", or "unknown" at a Unix socket. */
  readonly peer: string;
  /** Tells the caller something before the answer, once. A call that is streamed has its first message for that. */
  tell(headers: Headers): void;
  /** Tells the caller something with the answer of a unary call, beside its message. */
  add(headers: Headers): void;
}

/** Words sent beside messages, by name. */
export type Headers = Readonly<Record<string, string>>;

/** The shape of one call, on the server: an ordinary (async, generator) function of request and call. */
type Handler<M> = M extends { requestStream: false; responseStream: false }
  ? (request: RequestOf<M>, call: Call) => Promise<ResponseOf<M>> | ResponseOf<M>
  : M extends { requestStream: false; responseStream: true }
    ? (request: RequestOf<M>, call: Call) => AsyncIterable<ResponseOf<M>>
    : M extends { requestStream: true; responseStream: false }
      ? (requests: AsyncIterable<RequestOf<M>>, call: Call) => Promise<ResponseOf<M>>
      : (requests: AsyncIterable<RequestOf<M>>, call: Call) => AsyncIterable<ResponseOf<M>>;

export type Handlers<S> = { [K in keyof S]?: Handler<S[K]> };

/** A service: its definition and what it does. A call without a handler answers UNIMPLEMENTED with its name. */
export interface Service<S extends ServiceDefinition = ServiceDefinition> {
  readonly definition: S;
  readonly handlers: Handlers<S>;
}

/** Pairs a definition with its handlers, checked against each other. */
export function service<S extends ServiceDefinition>(definition: S, handlers: Handlers<S>): Service<S> {
  return { definition, handlers };
}

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Sent with the call, beside its message. */
  readonly headers?: Headers;
  /** Called with what the peer tells before its answer, and with it, by name. */
  readonly onTold?: (header: (name: string) => string | undefined) => void;
}

/**
 * Chosen by the caller of a tool, or by who gives a goal (a UUID in lower case): it is begun at most once, and the goal has this id;
 * asked again, the answer is what came of it.
 */
export const executionHeader = "x-aios-execution-id";

/** Throws INVALID_ARGUMENT when a caller has chosen something else for its {@link executionHeader} than a UUID in lower case. */
export function checkExecutionId(act: string, id: string | undefined): void {
  if (id === undefined || isUuid(id)) return;
  const reason = `"${beginning(id, 64)}" is no UUID in lower case`;
  throw new AiosError("INVALID_ARGUMENT", { act: `${act}:`, object: executionHeader, reason });
}

/** With {@link executionHeader}, "yes": the execution is not to be begun any more. */
export const withdrawHeader = "x-aios-withdraw";

/** Told by the tools before their answer: the call waits for a person, by the approval of this id. */
export const approvalHeader = "x-aios-waits-for-approval";

/** Told by the tools with their answer: the code of a failure, which the message has no field for. */
export const errorCodeHeader = "x-aios-error-code";

/** Told by the tools with their answer, "yes": they ended before it was known what came of the call; it may have had its effect. */
export const interruptedHeader = "x-aios-interrupted";

/** Told by the tools with their answer: why what was done cannot be taken back. */
export const irreversibleHeader = "x-aios-irreversible";

/** With a rollback, "yes": also what was changed since is taken back; a copy of it is kept. */
export const forceHeader = "x-aios-force";

/** A header of a call; undefined when it has none. */
export function headerOf(metadata: Metadata, name: string): string | undefined {
  const value = metadata.get(name)[0];
  return typeof value === "string" ? value : undefined;
}

/** The shape of one call, on the client. */
type Method<M> = M extends { requestStream: false; responseStream: false }
  ? (request: RequestOf<M>, options?: CallOptions) => Promise<ResponseOf<M>>
  : M extends { requestStream: false; responseStream: true }
    ? (request: RequestOf<M>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
    : M extends { requestStream: true; responseStream: false }
      ? (requests: AsyncIterable<RequestOf<M>>, options?: CallOptions) => Promise<ResponseOf<M>>
      : (requests: AsyncIterable<RequestOf<M>>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>;

export type Client<S> = { readonly [K in keyof S]: Method<S[K]> } & { close(): void };
