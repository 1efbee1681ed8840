import { constants } from "node:crypto";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { MachineIdentity } from "./machine-identity.ts";
import { peerOf } from "./peers.ts";

/** Connections at once; more are closed as they come. */
const connectionsMax = 256;
/** A handshake that takes longer is cut off: nobody holds a connection open by saying nothing. */
const handshakeTimeoutMs = 10_000;

/** Takes a connection whose handshake is over. */
export type Welcome = (socket: TLSSocket) => void;

/** Where connections go, by who is at the other end. */
export interface Rooms {
  /** For those with a certificate of this machine's authority. */
  readonly operators: Welcome;
  /** For those without a certificate; undefined while none are let in. */
  newcomers(): Welcome | undefined;
}

export interface Door {
  readonly port: number;
  close(): void;
}

/** The protocols spoken behind the door, as ALPN names them. HTTPS for browsers will be "http/1.1" here. */
const protocols = ["h2"];

/**
 * Opens the management port: one TLS listener, and one decision for each connection. Whoever shows a certificate that is
 * not right, and whoever shows none while enrolment is closed, is cut off before a byte of theirs is read.
 */
export async function openDoor(
  where: { readonly host: string; readonly port: number },
  { ca, certificate, key }: MachineIdentity,
  rooms: Rooms,
  log: Log,
): Promise<Door> {
  const server = createServer({
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
  server.maxConnections = connectionsMax;
  server.on("secureConnection", (socket) => {
    socket.on("error", (error) => log.debug("connection broke", { from: socket.remoteAddress, reason: error.message }));
    const refuse = (reason: string) => {
      log.warn("refused a connection", { from: socket.remoteAddress, reason });
      socket.destroy();
    };
    if (!protocols.includes(String(socket.alpnProtocol))) return refuse(`it does not offer ${protocols.join(" or ")}`);
    const peer = peerOf(socket);
    if (peer.kind === "refused") return refuse(peer.reason);
    if (peer.kind === "operator") return rooms.operators(socket);
    const welcome = rooms.newcomers();
    return welcome === undefined ? refuse("it shows no certificate, and enrolment is closed") : welcome(socket);
  });
  server.on("tlsClientError", (error, socket) =>
    log.debug("handshake failed", { from: socket.remoteAddress, reason: messageOf(error) }),
  );
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new Error(`listen on ${where.host}:${where.port}: ${error.message}`)));
    server.listen(where.port, where.host, resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}
