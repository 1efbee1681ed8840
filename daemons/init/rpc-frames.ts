import { AiosError, type Code, codes } from "#lib/errors";

/** The largest message, bytes: as the library has it. */
export const messageSizeMaxBytes = 4 * 1024 * 1024;

export const contentType = "application/grpc+proto";
export const correlationHeader = "x-correlation-id";

/** A message as it goes over the wire: a byte that says "not compressed", its length, itself. */
export function frame(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(5 + message.length);
  framed.writeUInt8(0, 0);
  framed.writeUInt32BE(message.length, 1);
  message.copy(framed, 5);
  return framed;
}

/** Takes what a stream brings, and gives back the messages that are complete. */
export function frameReader(): (chunk: Buffer) => Buffer[] {
  let waiting: Buffer = Buffer.alloc(0);
  return (chunk) => {
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
    const messages: Buffer[] = [];
    while (waiting.length >= 5) {
      const length = waiting.readUInt32BE(1);
      if (waiting.readUInt8(0) !== 0) throw new AiosError("UNIMPLEMENTED", "read message: it is compressed");
      if (length > messageSizeMaxBytes) {
        const limit = `at most ${messageSizeMaxBytes} are taken`;
        throw new AiosError("RESOURCE_EXHAUSTED", `read message: it has ${length} bytes, ${limit}`);
      }
      if (waiting.length < 5 + length) break;
      messages.push(waiting.subarray(5, 5 + length));
      waiting = waiting.subarray(5 + length);
    }
    return messages;
  };
}

const names = new Map<number, Code>(Object.entries(codes).map(([name, number]) => [number, name as Code]));

/** The status that headers or trailers carry, or undefined when they carry none. "OK" is no error. */
export function statusOf(
  headers: Readonly<Record<string, unknown>>,
): { code: Code | "OK"; message: string } | undefined {
  const number = headers["grpc-status"];
  if (number === undefined) return undefined;
  const code = Number(number) === 0 ? "OK" : (names.get(Number(number)) ?? "INTERNAL");
  return { code, message: decodeText(String(headers["grpc-message"] ?? "")) };
}

/** Trailers for a status. */
export function statusTrailers(code: Code | "OK", message = ""): Record<string, string> {
  const number = code === "OK" ? 0 : codes[code];
  return { "grpc-status": `${number}`, ...(message !== "" && { "grpc-message": encodeText(message) }) };
}

/** Header values are ASCII: everything else is percent-encoded UTF-8. */
function encodeText(text: string): string {
  return text.replace(/[^ -$&-~]/gu, (character) => {
    const bytes = [...Buffer.from(character)];
    return bytes.map((byte) => `%${byte.toString(16).padStart(2, "0").toUpperCase()}`).join("");
  });
}

function decodeText(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const unitsMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** A `grpc-timeout` header: up to eight digits and a unit. */
export function timeoutHeader(timeoutMs: number): string {
  const whole = Math.max(1, Math.ceil(timeoutMs));
  return whole < 1e8 ? `${whole}m` : `${Math.min(Math.ceil(whole / 1000), 99_999_999)}S`;
}

/** Milliseconds of a `grpc-timeout` header, or undefined when there is none that makes sense. */
export function parseTimeout(header: unknown): number | undefined {
  const [, count, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(String(header ?? "")) ?? [];
  return count === undefined ? undefined : Number(count) * (unitsMs[unit] ?? 1);
}
