/** A chunk is as long as this at most, characters: some 200 words, a passage that answers one question. */
export const chunkLengthMax = 1_200;

/** Breaks, the best first: before a heading, between paragraphs, lines, sentences, words. */
const breaks: readonly RegExp[] = [/\n(?=#)/g, /\n\s*\n/g, /\n/g, /(?<=[.!?])\s+/g, /\s+/g];

/**
 * Cuts a text into chunks of at most {@link chunkLengthMax} characters, at its headings, paragraphs, lines, sentences or words
 * (a word that is longer is cut), and joins what is short. Nothing but blank space between chunks is lost.
 */
export function chunked(text: string): string[] {
  const pieces = cut(text.trim(), 0).filter((piece) => piece.trim() !== "");
  const chunks: string[] = [];
  for (const piece of pieces) {
    const last = chunks.at(-1);
    const headed = piece.startsWith("#");
    if (last !== undefined && !headed && last.length + piece.length + 1 <= chunkLengthMax)
      chunks[chunks.length - 1] = `${last}\n${piece}`;
    else chunks.push(piece);
  }
  return chunks;
}

function cut(text: string, level: number): string[] {
  const pattern = breaks[level];
  if (text.length <= chunkLengthMax && !(level === 0 && /\n#/.test(text))) return [text];
  if (pattern === undefined) return hard(text);
  const parts = text.split(pattern).map((part) => part.trim());
  return join(
    parts.flatMap((part) => cut(part, level + 1)),
    level,
  );
}

/** A piece that a coarse break cut too small for a chunk of its own is joined to the next. Headings begin a chunk. */
function join(parts: readonly string[], level: number): string[] {
  if (level === 0) return [...parts];
  const between = level <= 1 ? "\n\n" : level === 2 ? "\n" : " ";
  const result: string[] = [];
  for (const part of parts) {
    const last = result.at(-1);
    if (last !== undefined && !part.startsWith("#") && last.length + between.length + part.length <= chunkLengthMax)
      result[result.length - 1] = last + between + part;
    else result.push(part);
  }
  return result;
}

/** Never between the two halves of one character. */
function hard(text: string): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length; ) {
    let end = Math.min(at + chunkLengthMax, text.length);
    if (end < text.length && /[\uD800-\uDBFF]/.test(text[end - 1] ?? "")) end--;
    pieces.push(text.slice(at, end));
    at = end;
  }
  return pieces;
}
