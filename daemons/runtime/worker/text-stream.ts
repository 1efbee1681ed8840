/** Turns tokens into text as they come. */
interface TextStream {
  add(token: number): void;
  /** Writes what was held back. */
  end(): void;
}

/** A character's bytes may be spread over this many tokens (bytes of UTF-8); later they are taken to be no UTF-8 at all. */
const heldTokensMax = 4;

const unfinished = "\uFFFD";

/**
 * Writes the text of tokens as soon as it is whole characters. A token's text can depend on the one before it (a word's
 * space), so each is read together with its predecessors in a short window.
 */
export function textStream(detokenise: (tokens: Uint32Array) => string, write: (text: string) => void): TextStream {
  /** Tokens already written that give the next ones their context, then those not yet written. */
  let window: number[] = [];
  let written = 0;

  const flush = (force: boolean) => {
    if (written === window.length) return;
    const before = detokenise(Uint32Array.from(window.slice(0, written)));
    const all = detokenise(Uint32Array.from(window));
    const text = all.slice(before.length);
    const waiting = text.endsWith(unfinished) && window.length - written < heldTokensMax;
    if (waiting && !force) return;
    if (text !== "") write(text);
    window = window.slice(written);
    written = window.length;
  };

  return {
    add(token) {
      window.push(token);
      flush(false);
    },
    end: () => flush(true),
  };
}
