import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from "node:tls";
import { roleOf } from "#lib/identity/pki";
import type { Role } from "#lib/identity/role";

/** Someone with a certificate of the authority that this machine trusts. */
export interface Operator {
  readonly name: string;
  readonly role: Role;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

/** The other end of a connection, by the certificate that it has shown. */
type Peer =
  | { readonly kind: "operator"; readonly operator: Operator }
  | { readonly kind: "anonymous" }
  | { readonly kind: "refused"; readonly reason: string };

/** The peer of a socket, once the handshake is over. */
export function peerOf(socket: TLSSocket): Peer {
  const certificate = socket.getPeerCertificate();
  if (!isShown(certificate)) return { kind: "anonymous" };
  if (!socket.authorized) return { kind: "refused", reason: `its certificate: ${socket.authorizationError}` };
  const operator = operatorOf(certificate);
  if (operator === undefined)
    return { kind: "refused", reason: "its certificate names no one, or not exactly one role" };
  return { kind: "operator", operator };
}

/** The name and role in a certificate that has been verified, or undefined when it lacks one. */
export function operatorOf(certificate: PeerCertificate | DetailedPeerCertificate): Operator | undefined {
  const role = roleOf(certificate.subjectaltname);
  const name: unknown = certificate.subject.CN;
  if (role === undefined || typeof name !== "string" || name === "") return undefined;
  return { name, role, notAfter: Date.parse(certificate.valid_to) };
}

/** Node gives an empty object for no certificate. */
function isShown(certificate: PeerCertificate): boolean {
  return Object.keys(certificate).length > 0;
}
