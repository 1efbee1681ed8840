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
