/**
 * Messages of the Network Time Protocol as a simple client sends and reads them (RFC 4330; RFC 5905 for the formats, the
 * kiss codes and the distance that a server's time may be off; RFC 9769 for what a client keeps to itself).
 */

/**
 * A request to a time server: the wall clock when it was sent, and a clock that nobody sets, to measure how long it
 * took.
 */
export interface Question {
  /** Eight bytes that only the server and we know: an answer repeats them. */
  readonly nonce: Buffer;
  readonly sentWallMs: number;
  readonly sentMs: number;
}

export type Reply =
  | {
      readonly kind: "time";
      /** The milliseconds to add to our clock to have the server's. */
      readonly offsetMs: number;
      /** The true offset lies no further from it than this, as the server says. */
      readonly distanceMs: number;
    }
  /** The server does not want us: DENY and RSTR for good, RATE so often. Others mean that it cannot tell the time now. */
  | { readonly kind: "refused"; readonly code: string }
  /** The server answered, and tells no time that could be used. */
  | { readonly kind: "unusable"; readonly reason: string }
  /** No answer to our question: a stray packet, or somebody's guess. */
  | { readonly kind: "foreign" };

const messageBytes = 48;
const client = 3;
const server = 4;
/** The version we speak; servers of the older one answer with theirs, or with ours. */
const version = 4;
const versions = [3, 4];
const unsynchronised = 3;
const stratumMax = 15;

/** RFC 5905, MAXDISP: a clock that may be further off is none. */
const distanceMaxMs = 16_000;
/** The clocks here count in whole milliseconds, and a way there may be longer than the way back. */
const distanceLeastMs = 5;

/** Seconds from NTP's epoch, 1900, to Unix's. */
const epochOffsetSeconds = 2_208_988_800;
const eraMs = 2 ** 32 * 1000;

/** A client's request. It tells nothing of us, not even what our clock says: the time of sending is a random number. */
export function request({ nonce }: Pick<Question, "nonce">): Buffer {
  const message = Buffer.alloc(messageBytes);
  message[0] = (version << 3) | client;
  nonce.copy(message, 40);
  return message;
}

/**
 * Reads what came back `receivedMs` (of the clock that nobody sets). Times are read in the 136 years around `floorMs`: the
 * protocol's seconds begin anew in 2036.
 */
export function readReply(message: Buffer, question: Question, receivedMs: number, floorMs: number): Reply {
  if (message.length < messageBytes) return { kind: "foreign" };
  const first = message.readUInt8(0);
  const [leap, spoken, mode] = [first >> 6, (first >> 3) & 7, first & 7];
  if (mode !== server || !versions.includes(spoken) || !message.subarray(24, 32).equals(question.nonce)) {
    return { kind: "foreign" };
  }
  const stratum = message.readUInt8(1);
  if (stratum === 0) return { kind: "refused", code: kissCode(message) };
  if (leap === unsynchronised) return unusable("it says that its own clock is not set");
  if (stratum > stratumMax) return unusable(`it is ${stratum} steps from a clock, more than ${stratumMax}`);

  const rootMs = shortMs(message, 4) / 2 + shortMs(message, 8);
  if (rootMs >= distanceMaxMs) return unusable(`its clock may be ${Math.round(rootMs / 1000)} s off`);
  if (isZero(message, 32) || isZero(message, 40)) return unusable("its times are missing");
  const [reached, left] = [timeMs(message, 32, floorMs), timeMs(message, 40, floorMs)];
  const tookMs = receivedMs - question.sentMs;
  const thereMs = left - reached;
  // A clock that was set between the two times, or that tells them in the wrong order.
  if (thereMs < 0 || thereMs > tookMs + 1) return unusable("its times are not in order");

  const answeredWallMs = question.sentWallMs + tookMs;
  return {
    kind: "time",
    offsetMs: (reached - question.sentWallMs + (left - answeredWallMs)) / 2,
    distanceMs: rootMs + Math.max(0, tookMs - thereMs) / 2 + distanceLeastMs,
  };
}

function unusable(reason: string): Reply {
  return { kind: "unusable", reason };
}

/** Four letters of ASCII; what is none of them is a server's nonsense. */
function kissCode(message: Buffer): string {
  const code = message.toString("latin1", 12, 16).replace(/\0+$/, "");
  return /^[A-Z]{1,4}$/.test(code) ? code : "none";
}

/** 16 bits of seconds, 16 of fractions. */
function shortMs(message: Buffer, at: number): number {
  return (message.readUInt32BE(at) / 2 ** 16) * 1000;
}

function isZero(message: Buffer, at: number): boolean {
  return message.readBigUInt64BE(at) === 0n;
}

function timeMs(message: Buffer, at: number, aroundMs: number): number {
  const seconds = message.readUInt32BE(at) - epochOffsetSeconds;
  const ms = seconds * 1000 + (message.readUInt32BE(at + 4) / 2 ** 32) * 1000;
  return ms + Math.round((aroundMs - ms) / eraMs) * eraMs;
}
