import { constants, X509Certificate } from "node:crypto";
import { type AddressInfo, createServer as createListener, type Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { holderOf, openPlaces, type Places } from "./admission.ts";
import { serverNameOf } from "./hello.ts";
import type { MachineIdentity } from "./machine-identity.ts";
import { peerOf } from "./peers.ts";

/**
 * How many connections may be at each stage, in all and of one holder: an address until it is known who is there, then a person.
 * The stages do not share: what strangers hold takes nothing from those who have shown a certificate.
 */
const stages = {
  // A client speaks first, and at once: who is silent holds a descriptor, and takes no place of those who speak.
  silent: { all: 4_096, ofOne: 2_048 },
  // An honest handshake takes milliseconds, over a slow line two round trips.
  handshake: { all: 256, ofOne: 32, undisturbedMs: 500, waiting: { all: 1_024, ofOne: 512 } },
  newcomers: { all: 32, ofOne: 4 },
  operators: { all: 512, ofOne: 64 },
} as const;

/** A handshake that takes longer is cut off: nobody holds a connection open by saying nothing. */
const handshakeTimeoutMs = 5_000;

/** About what a client says first. More of it stays with the kernel until the handshake begins. */
const helloBytes = 2_048;

/** Connections that the kernel holds until they are taken: beyond it, it lets whoever comes try again after seconds. */
const backlog = 4_096;

/** Takes a connection whose handshake is over. */
export type Welcome = (socket: TLSSocket) => void;

/** Where connections go, by who is at the other end. */
interface Rooms {
  /** For those with a certificate of this machine's authority. */
  readonly operators: Welcome;
  /** For those without a certificate; undefined while none are let in. */
  newcomers(): Welcome | undefined;
}

export interface Listener {
  readonly port: number;
  close(): void;
}

/** The protocols spoken behind the listener, as ALPN names them. HTTPS for browsers will be "http/1.1" here. */
const protocols = ["h2"];

/**
 * Opens the management port: one TLS listener, and one decision for each connection. Whoever shows a certificate that is
 * not right, and whoever shows none while enrolment is closed, is cut off before a byte of theirs is read.
 */
export async function openListener(
  where: { readonly host: string; readonly port: number },
  { ca, certificate, key }: MachineIdentity,
  rooms: Rooms,
  clock: Pick<Clock, "monotonic">,
  log: Log,
): Promise<Listener> {
  const silent = openPlaces<Socket>(stages.silent, clock);
  const handshakes = openPlaces<Socket>(stages.handshake, clock);
  const newcomers = openPlaces<TLSSocket>(stages.newcomers, clock);
  const operators = openPlaces<TLSSocket>(stages.operators, clock);
  // Who names this machine has places beside those of the same address who name nobody.
  const own = new X509Certificate(certificate);
  const isNamed = (hello: Buffer) => own.checkHost(serverNameOf(hello) ?? "") !== undefined;
  /** The connections below handshakes, by who is at the other end. */
  const below = new Map<string, Socket>();
  const tls = createServer({
    ca,
    cert: certificate,
    key,
    // Refusing is done below: Node would turn those without a certificate away too.
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    ALPNProtocols: protocols,
    // Everyone proves anew who they are: a resumed session would carry what was true of its certificate then.
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: handshakeTimeoutMs,
  });
  tls.on("secureConnection", (socket) => {
    const raw = below.get(endOf(socket));
    if (raw !== undefined) handshakes.leave(raw);
    socket.on("error", (error) => log.debug("connection broke", { from: socket.remoteAddress, reason: error.message }));
    const refuse = (reason: string) => {
      log.warn("refused a connection", { from: socket.remoteAddress, reason });
      socket.destroy();
    };
    if (!protocols.includes(String(socket.alpnProtocol))) return refuse(`it does not offer ${protocols.join(" or ")}`);
    const peer = peerOf(socket);
    if (peer.kind === "refused") return refuse(peer.reason);
    if (peer.kind === "operator") {
      seat(operators, peer.operator.name, socket);
      return rooms.operators(socket);
    }
    const welcome = rooms.newcomers();
    if (welcome === undefined) return refuse("it shows no certificate, and enrolment is closed");
    seat(newcomers, holderOf(socket.remoteAddress), socket);
    return welcome(socket);
  });
  tls.on("tlsClientError", (error, socket) => {
    log.debug("handshake failed", { from: socket.remoteAddress, reason: messageOf(error) });
    // One that took too long Node only tells of, and leaves open.
    socket.destroy();
  });
  const server = createListener({ highWaterMark: helloBytes }, (raw) => {
    const end = endOf(raw);
    const holder = holderOf(raw.remoteAddress);
    below.set(end, raw);
    raw.once("close", () => below.delete(end));
    raw.on("error", () => {});
    raw.setTimeout(handshakeTimeoutMs, () => raw.destroy());
    seat(silent, holder, raw);
    raw.once("readable", () => {
      if (!silent.leave(raw)) return;
      const hello: Buffer | null = raw.read();
      if (hello === null) return void raw.destroy();
      raw.unshift(hello);
      seat(handshakes, isNamed(hello) ? `${holder} by name` : holder, raw, () => {
        raw.setTimeout(0);
        tls.emit("connection", raw);
      });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new Error(`listen on ${where.host}:${where.port}: ${error.message}`)));
    server.listen({ ...where, backlog }, resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}

/** A connection's other end: no two connections have one. */
const endOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

/** Gives a connection a place until it ends, now or when one is free. */
function seat<S extends Socket>(places: Places<S>, holder: string, socket: S, seated?: () => void): void {
  places.enter(holder, socket, seated);
  socket.once("close", () => places.leave(socket));
}
