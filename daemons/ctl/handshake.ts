import { connect, type DetailedPeerCertificate } from "node:tls";
import { callAfter } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { KeyPair } from "#lib/identity/pki";

/** A machine gets this long to finish a TLS handshake. */
const timeoutMs = 5_000;
/** A machine that refuses a certificate closes the connection within this time of the handshake. */
const refusalMs = 1_000;

/** The result of a bare TLS connection to a machine. */
interface Handshake {
  /** The certificate it showed, and its issuer's where it sent it. Not verified. */
  readonly shown: DetailedPeerCertificate;
  /** It closed the connection as soon as it had seen what the client shows. */
  readonly refused: boolean;
}

/**
 * Shakes hands with `target` ("HOST:PORT") without believing its certificate, and without saying anything.
 * With `wait` it stays a moment to see whether the machine refuses. Throws UNAVAILABLE when nothing answers.
 */
export async function shakeHands(target: string, shows: KeyPair | undefined, wait: boolean): Promise<Handshake> {
  const { host, port } = split(target);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      ...(shows && { key: shows.key, cert: shows.certificate }),
    });
    const fail = (reason: string) => {
      socket.destroy();
      const next = "is the address right, and is the machine up?";
      reject(new AiosError("UNAVAILABLE", { act: "reach", object: target, reason, next }));
    };
    const inTime = callAfter(timeoutMs, () => fail("no answer"));
    let shown: DetailedPeerCertificate | undefined;
    const done = (refused: boolean) => {
      inTime();
      socket.destroy();
      if (shown !== undefined) resolve({ shown, refused });
    };
    socket.on("secureConnect", () => {
      shown = socket.getPeerCertificate(true);
      inTime();
      if (wait) callAfter(refusalMs, () => done(false));
      else done(false);
    });
    socket.on("error", (error) => (shown === undefined ? fail(error.message) : done(true)));
    socket.on("close", () => (shown === undefined ? fail("it closed the connection") : done(true)));
  });
}

/** Host and port of "HOST:PORT" or "[ADDRESS]:PORT". */
function split(target: string): { host: string; port: number } {
  const at = target.lastIndexOf(":");
  return { host: target.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port: Number(target.slice(at + 1)) };
}
