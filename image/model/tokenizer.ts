/**
 * A byte-level BPE tokenizer in GPT-2's form: the 256 bytes are the first tokens, each merge of two tokens adds one,
 * then come the control tokens.
 */
export interface Tokenizer {
  readonly tokens: readonly string[];
  /** Pairs "left right" in the order in which they apply. */
  readonly merges: readonly string[];
  /** Tokens from this one on are control tokens: they are never made from text. */
  readonly controlFrom: number;
}

/** ChatML's marks. The second begins a message, the third ends one and is what ends an answer. */
export const controlTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;

/** What the merges are learned from: the words that this product's prompts and answers are full of. */
const corpus = `
You are the operational model of an aiOS machine. Answer with one JSON object and nothing else.
{"tool": "monitor.disk", "arguments": {"path": "/var/lib/aios"}}
{"tool": "fs.write", "arguments": {"path": "/var/lib/aios/reports/disk.txt", "content": "The disk is in use."}}
{"tool": "fs.read", "arguments": {"path": "/etc/aios/config.toml"}}
{"status": "completed", "reason": "the report was written and the file is there", "tasks": [], "success": true}
{"status": "failed", "error": "the agent has no capability for this path", "success": false, "answer": null}
system user assistant agent task goal plan memory network storage security package monitor service the of and to in is
a goal is a list of tasks, each task is a call of one tool, and the result of each tool call is in the ledger.
`;

/**
 * Learns `mergeCount` merges from the corpus, and fills the vocabulary up to `size` with words that no text becomes.
 * The same input gives the same tokens, always.
 */
export function learnTokenizer(mergeCount: number, size = 0): Tokenizer {
  let words = (corpus.match(/ ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+/g) ?? []).map(spell);
  const tokens = [...byteLetters];
  const merges: string[] = [];
  while (merges.length < mergeCount) {
    const best = mostFrequentPair(words);
    if (best === undefined) break;
    merges.push(best);
    tokens.push(best.replace(" ", ""));
    words = words.map((word) => merged(word, best));
  }
  while (tokens.length + controlTokens.length < size) tokens.push(`${byteLetters[0x20]}w${tokens.length}`);
  return { tokens: [...tokens, ...controlTokens], merges, controlFrom: tokens.length };
}

/** The most frequent pair of neighbours, the first in alphabetical order among equals. */
function mostFrequentPair(words: readonly (readonly string[])[]): string | undefined {
  const counts = new Map<string, number>();
  for (const word of words) {
    for (let at = 1; at < word.length; at++) {
      const pair = `${word[at - 1]} ${word[at]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
  }
  const [best] = [...counts].sort(([a, times], [b, others]) => others - times || (a < b ? -1 : 1));
  return best?.[0];
}

function merged(word: readonly string[], pair: string): string[] {
  const result: string[] = [];
  for (const letter of word) {
    const last = result.at(-1);
    if (last !== undefined && `${last} ${letter}` === pair) result[result.length - 1] = last + letter;
    else result.push(letter);
  }
  return result;
}

/** A word's bytes as GPT-2's letters. */
function spell(word: string): string[] {
  return [...Buffer.from(word)].map((byte) => byteLetters[byte] ?? "");
}

/** GPT-2 gives each byte a printable letter: printable Latin-1 stands for itself, the rest is moved to U+0100 and up. */
const byteLetters: readonly string[] = (() => {
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCodePoint(printable ? byte : 0x100 + moved++);
  });
})();
