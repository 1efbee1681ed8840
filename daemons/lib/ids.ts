import { hash, randomFillSync } from "node:crypto";

/** Random bytes for the next ids: asking the system for each one takes as long as the rest. */
const pool = Buffer.alloc(4096);
let used = pool.length;

/** A UUIDv7 (RFC 9562): 48 bits of `nowMs` (milliseconds since the epoch), 74 random bits. */
export function uuidv7(nowMs: number): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const bytes = pool.subarray(used, used + 16);
  used += 16;
  bytes.writeUIntBE(nowMs, 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const text = bytes.toString("hex");
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`;
}

/** A UUIDv8 (RFC 9562) that follows from the words: the same words have the same id, wherever and whenever it is asked for. */
export function uuidOf(...words: readonly (string | number)[]): string {
  const digits = hash("sha256", JSON.stringify(words));
  const variant = "89ab"[Number.parseInt(digits.slice(16, 17), 16) % 4];
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-8${digits.slice(13, 16)}-${variant}${digits.slice(17, 20)}-${digits.slice(20, 32)}`;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether a text is a UUID in lower case, of whatever version. */
export const isUuid = (text: string): boolean => uuid.test(text);
