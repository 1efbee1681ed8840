/**
 * The beginning of a text, at most `lengthMax` UTF-16 units, ended by "…" where something was left out. It is cut between
 * characters: half of one outside the BMP is no text, and whoever encodes it fails or sends another.
 */
export function cut(text: string, lengthMax: number, mark = "…"): string {
  if (text.length <= lengthMax) return text;
  return `${beginning(text, lengthMax - mark.length)}${mark}`;
}

/** The first `lengthMax` UTF-16 units of a text, less the half of a character at their end. */
export function beginning(text: string, lengthMax: number): string {
  const end = Math.max(0, lengthMax);
  const last = text.charCodeAt(end - 1);
  const halved = end < text.length && last >= 0xd800 && last <= 0xdbff;
  return text.slice(0, halved ? end - 1 : end);
}

/** The last `lengthMax` UTF-16 units of a text, less the half of a character at their beginning. */
export function ending(text: string, lengthMax: number): string {
  const from = Math.max(0, text.length - lengthMax);
  const first = text.charCodeAt(from);
  const halved = from > 0 && first >= 0xdc00 && first <= 0xdfff;
  return text.slice(halved ? from + 1 : from);
}

/** The text of UTF-8 bytes that were cut out of more: less the parts of characters at their beginning and end. */
export function textWithin(bytes: Uint8Array): string {
  let from = 0;
  while (from < 3 && isContinuation(bytes[from])) from += 1;
  // As a stream, the decoder waits for the rest of the last character.
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(from), { stream: true });
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
