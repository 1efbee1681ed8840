/** How many tokens texts are. */
interface TokenCounts {
  /** In the order of the texts. */
  readonly counts: readonly number[];
  /** The runtime's tokenizer was not there. */
  readonly estimated: boolean;
}

export type CountTokens = (texts: readonly string[]) => Promise<TokenCounts>;

/** Asks for the tokens of one text; throws when the tokenizer is away. */
type Tokenizer = (text: string) => Promise<number>;

/** Counts that are remembered: chunks come back in one context after the other. */
const rememberedMax = 4_000;

/** Questions to the tokenizer at a time. */
const togetherMax = 8;

/** After the tokenizer did not answer, estimates are used for this long. */
const awayMs = 5_000;

/**
 * Counts by `tokenizer`. What it says holds as long as `model` stays the same; when it is away all counts of the call are
 * estimates.
 */
export function tokenCounter(tokenizer: Tokenizer, clock: { monotonic(): number }): CountTokens {
  const remembered = new Map<string, number>();
  let awayUntilMs = Number.NEGATIVE_INFINITY;
  const count = async (text: string) => {
    const known = remembered.get(text);
    if (known !== undefined) return known;
    const counted = await tokenizer(text);
    if (remembered.size >= rememberedMax) remembered.clear();
    remembered.set(text, counted);
    return counted;
  };
  return async (texts) => {
    const counts: number[] = [];
    try {
      if (clock.monotonic() < awayUntilMs) throw new Error("the tokenizer is away");
      for (let at = 0; at < texts.length; at += togetherMax)
        counts.push(...(await Promise.all(texts.slice(at, at + togetherMax).map(count))));
      return { counts, estimated: false };
    } catch {
      if (clock.monotonic() >= awayUntilMs) awayUntilMs = clock.monotonic() + awayMs;
      remembered.clear();
      return { counts: texts.map(estimatedTokens), estimated: true };
    }
  };
}

/**
 * An estimate that is rather too high: a token for each four letters of a word, for each two digits, for each sign, and
 * one for each byte of what is not ASCII.
 */
export function estimatedTokens(text: string): number {
  let tokens = 1;
  for (const [piece] of text.matchAll(/[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]|\n/g)) {
    if (/^[A-Za-z]/.test(piece)) tokens += Math.ceil(piece.length / 4);
    else if (/^[0-9]/.test(piece)) tokens += Math.ceil(piece.length / 2);
    else tokens += Buffer.byteLength(piece);
  }
  return tokens;
}
