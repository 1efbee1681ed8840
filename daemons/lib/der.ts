import { isIPv4 } from "node:net";

/**
 * The little of DER (X.690) that certificates with P-256 keys need. A library for all of X.509 takes 88 ms to load and
 * 23 MB of memory here, ten times that under emulation, for what is a page of code.
 */

const tags = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

function tlv(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  if (length > 0xffff) throw new Error(`DER value of ${length} bytes; at most 65535 are written`);
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

export const sequence = (...parts: Uint8Array[]): Buffer => tlv(tags.sequence, Buffer.concat(parts));
export const set = (...parts: Uint8Array[]): Buffer => tlv(tags.set, Buffer.concat(parts));
export const octets = (content: Uint8Array): Buffer => tlv(tags.octets, content);
export const utf8 = (text: string): Buffer => tlv(tags.utf8, Buffer.from(text));
export const yes: Buffer = tlv(tags.boolean, Buffer.from([0xff]));

/** A whole number that is not negative, from its bytes, most significant first. */
export function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const shortest = first < 0 ? Buffer.alloc(1) : bytes.subarray(first);
  const signed = (shortest[0] ?? 0) >= 0x80;
  return tlv(tags.integer, signed ? Buffer.concat([Buffer.alloc(1), shortest]) : shortest);
}

/** A bit string; `unused` bits at its end do not count. */
export const bits = (content: Uint8Array, unused = 0): Buffer =>
  tlv(tags.bits, Buffer.concat([Buffer.from([unused]), content]));

/** An object identifier: "2.5.4.3". */
export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const arcs = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return tlv(tags.oid, Buffer.from(arcs));
}

/** A time to the second: UTCTime before 2050, GeneralizedTime from then on, as RFC 5280 asks. */
export function time(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`;
  const early = new Date(ms).getUTCFullYear() < 2050;
  return tlv(early ? tags.utcTime : tags.generalizedTime, Buffer.from(early ? digits.slice(2) : digits));
}

/** `content` under a context tag: `constructed` when it holds values, else bytes. */
export const tagged = (number: number, content: Uint8Array, constructed: boolean): Buffer =>
  tlv(0x80 | (constructed ? 0x20 : 0) | number, content);

/** The bytes of an IP address (4 or 16), as a certificate holds it. `address` must be one. */
export function ipBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  // The URL parser writes every form of an IPv6 address (also ::ffff:1.2.3.4) in groups of hexadecimal digits.
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const gap = Array.from({ length: 8 - left.length - right.length }, () => 0);
  return Buffer.from([...left, ...gap, ...right].flatMap((group) => [group >> 8, group & 0xff]));
}

const groups = (text: string): number[] =>
  text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));

/** One value as read: its tag, its content, and the whole with tag and length. */
export interface Value {
  readonly tag: number;
  readonly content: Buffer;
  readonly whole: Buffer;
}

/** The values that fill `der` from end to end. Throws on anything but DER with lengths below 64 KiB. */
export function readValues(der: Buffer): Value[] {
  const values: Value[] = [];
  for (let at = 0; at < der.length; ) {
    const { header, length } = readHeader(der, at);
    const end = at + header + length;
    if (end > der.length) throw new Error("not DER: a value is longer than what holds it");
    values.push({ tag: der.readUInt8(at), content: der.subarray(at + header, end), whole: der.subarray(at, end) });
    at = end;
  }
  return values;
}

/** The values inside a sequence. */
export function readSequence(value: Value | undefined): Value[] {
  if (value?.tag !== tags.sequence) throw new Error("not what is expected: no sequence here");
  return readValues(value.content);
}

/** The bytes of a bit string that is a whole number of bytes. */
export function readBits(value: Value | undefined): Buffer {
  if (value?.tag !== tags.bits || value.content[0] !== 0) throw new Error("not what is expected: no bit string here");
  return value.content.subarray(1);
}

function readHeader(der: Buffer, at: number): { header: number; length: number } {
  if (at + 2 > der.length) throw new Error("not DER: it ends within a value");
  const first = der.readUInt8(at + 1);
  if (first < 0x80) return { header: 2, length: first };
  const size = first & 0x7f;
  if (size < 1 || size > 2 || at + 2 + size > der.length) throw new Error("not DER: a length that is not allowed");
  const length = der.readUIntBE(at + 2, size);
  if (length < (size === 1 ? 0x80 : 0x100)) throw new Error("not DER: a length that is not the shortest");
  return { header: 2 + size, length };
}
