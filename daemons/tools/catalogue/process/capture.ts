import type { Readable } from "node:stream";
import { textWithin } from "#lib/text";

/** Of each stream the beginning and the end are kept, bytes. */
const headMaxBytes = 64 * 1024;
const tailMaxBytes = 192 * 1024;

/** The bounded output of a program. */
export interface Capture {
  /** With a line that says how much was left out between beginning and end. */
  text(): string;
  truncated(): boolean;
}

export function capture(stream: Readable): Capture {
  let head = Buffer.alloc(0);
  let tail: Buffer[] = [];
  let tailBytes = 0;
  let dropped = 0;
  stream.on("error", () => {});
  stream.on("data", (chunk: Buffer) => {
    const room = headMaxBytes - head.length;
    if (room > 0) head = Buffer.concat([head, chunk.subarray(0, room)]);
    const rest = chunk.subarray(Math.max(0, room));
    if (rest.length === 0) return;
    tail.push(rest);
    tailBytes += rest.length;
    if (tailBytes <= 2 * tailMaxBytes) return;
    const kept = Buffer.concat(tail).subarray(-tailMaxBytes);
    dropped += tailBytes - kept.length;
    // Copied, so that what was cut off is let go.
    tail = [Buffer.from(kept)];
    tailBytes = kept.length;
  });
  return {
    text: () => {
      const kept = Buffer.concat(tail).subarray(-tailMaxBytes);
      const missing = dropped + tailBytes - kept.length;
      // Where nothing is missing the two are one text: a character may lie across the seam.
      if (missing === 0) {
        const all = Buffer.concat([head, kept]);
        return stream.closed ? all.toString("utf8") : textWithin(all);
      }
      return `${textWithin(head)}\n[${missing} bytes are left out here]\n${textWithin(kept)}`;
    },
    truncated: () => dropped + tailBytes > tailMaxBytes,
  };
}
