/** TLS: the kinds of record, handshake message and extension that are read here (RFC 8446 §4, §5.1; RFC 6066 §3). */
const handshakeRecord = 22;
const clientHello = 1;
const serverName = 0;
const hostName = 0;

/**
 * The name that a client asks for in the first bytes it says, its ClientHello; undefined when they hold none, not
 * all of it, or what is no host's name.
 * It proves nothing: who scans addresses names nobody, who was told of a machine does.
 */
export function serverNameOf(bytes: Buffer): string | undefined {
  try {
    return readServerName(bytes);
  } catch (error) {
    // They end before what they announce, by malice or because the rest is still on its way.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function readServerName(bytes: Buffer): string | undefined {
  // A record's head (5 bytes), a message's (4), version (2), random (32).
  if (bytes.readUInt8(0) !== handshakeRecord || bytes.readUInt8(5) !== clientHello) return undefined;
  let at = 43;
  // Session id, cipher suites, compression methods.
  at += 1 + bytes.readUInt8(at);
  at += 2 + bytes.readUInt16BE(at);
  at += 1 + bytes.readUInt8(at);
  const end = at + 2 + bytes.readUInt16BE(at);
  at += 2;
  while (at < end) {
    const kind = bytes.readUInt16BE(at);
    const length = bytes.readUInt16BE(at + 2);
    at += 4;
    // A list of names (2 bytes of length), in which each has its kind (1) and length (2); there is one host name.
    if (kind === serverName && bytes.readUInt8(at + 2) === hostName) {
      const after = at + 5 + bytes.readUInt16BE(at + 3);
      const name = bytes.toString("latin1", at + 5, after);
      return after <= bytes.length && /^[\w.-]+$/.test(name) ? name : undefined;
    }
    at += length;
  }
  return undefined;
}
