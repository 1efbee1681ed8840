import { describe, expect, it } from "vitest";
import { chunked, chunkLengthMax } from "./chunks.ts";
import { assemble, type Piece, tiers } from "./context.ts";
import { cosine } from "./embedding.ts";
import { candidates, relevanceOf } from "./fusion.ts";
import { lexicalDimension, lexicalVector, stem } from "./lexical.ts";
import { pack } from "./shelf.ts";
import { estimatedTokens, tokenCounter } from "./tokens.ts";

/** The same numbers in every run: mulberry32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const vocabulary =
  'disk cpu memory goal agent fails starts error é 日本 {"a":1} 12345 a-b-c . \n \n\n # ## https://x/y?z'.split(" ");
function textOf(next: () => number, words: number): string {
  return Array.from({ length: words }, () => vocabulary[Math.floor(next() * vocabulary.length)]).join(
    next() < 0.2 ? "\n\n" : " ",
  );
}

describe("chunks", () => {
  it("lose nothing but blanks, and are never too long, whatever the text", () => {
    const next = random(1);
    for (let round = 0; round < 300; round++) {
      const text = textOf(next, Math.floor(next() * 900)) + "x".repeat(next() < 0.1 ? 5_000 : 0);
      const chunks = chunked(text);
      expect(chunks.join("").replace(/\s/g, "")).toBe(text.replace(/\s/g, ""));
      for (const chunk of chunks) expect(chunk.length).toBeLessThanOrEqual(chunkLengthMax);
    }
  });

  it("begin at headings and end between paragraphs", () => {
    const paragraph = "Some words of a sentence. ".repeat(30).trim();
    const chunks = chunked(`# One\n${paragraph}\n\n${paragraph}\n\n# Two\nShort.`);
    expect(chunks).toEqual([`# One\n${paragraph}`, paragraph, "# Two\nShort."]);
  });

  it("never cut a character in two", () => {
    for (const chunk of chunked("😀".repeat(2_000))) expect(chunk.isWellFormed()).toBe(true);
  });
});

describe("the lexical embedding", () => {
  it("is the same everywhere: a change of it needs another name", () => {
    const vector = lexicalVector("Which agent may write files below /etc/aios?");
    expect(vector.length).toBe(lexicalDimension);
    const digest = [...vector].reduce((sum, value, at) => sum + value * ((at % 97) + 1), 0);
    expect(digest).toMatchInlineSnapshot(`-15.526150669902563`);
  });

  it("has length 1, and none for a text without words", () => {
    expect(Math.hypot(...lexicalVector("one two three"))).toBeCloseTo(1, 5);
    expect(Math.hypot(...lexicalVector(" … – "))).toBe(0);
  });

  it("knows forms and synonyms of a word, and tells different matters apart", () => {
    const near = (a: string, b: string) => cosine(lexicalVector(a), lexicalVector(b));
    expect(near("restarting the services", "a service restarts")).toBeGreaterThan(0.5);
    expect(near("delete a folder", "remove the directory")).toBeGreaterThan(0.2);
    expect(Math.abs(near("delete a folder", "monthly budget in dollars"))).toBeLessThan(0.15);
    expect(near("x", "x")).toBeCloseTo(1, 5);
  });

  it("stems what belongs together", () => {
    for (const [a, b] of [
      ["services", "service"],
      ["policies", "policy"],
      ["running", "run"],
      ["stopped", "stop"],
      ["branches", "branch"],
    ] as const)
      expect(stem(a), a).toBe(stem(b));
  });

  it("hardly changes in a byte a component", () => {
    const vector = lexicalVector("the machine makes its own certificate authority");
    const { bytes, scale } = pack(vector);
    const back = Float32Array.from(
      new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length),
      (value) => value * scale,
    );
    expect(cosine(vector, back)).toBeGreaterThan(0.995);
  });
});

describe("fusion", () => {
  it("is 1 for the query itself and keeps the order of either ranking where the other says nothing", () => {
    expect(relevanceOf({ text: 1, vector: 1 })).toBe(1);
    const found = candidates(
      [
        { key: 1, score: 0.9 },
        { key: 2, score: 0.5 },
      ],
      [{ key: 3, score: 0.8 }],
      50,
      () => undefined,
    );
    expect(found).toEqual([
      { key: 1, text: 0.9, vector: 0 },
      { key: 2, text: 0.5, vector: 0 },
      { key: 3, text: 0, vector: 0.8 },
    ]);
  });

  it("takes for a chunk beyond a full ranking half of its last, unless it is known", () => {
    const found = candidates([{ key: 1, score: 0.4 }], [{ key: 2, score: 0.6 }], 1, (key) =>
      key === 1 ? 0.1 : undefined,
    );
    expect(found).toEqual([
      { key: 1, text: 0.4, vector: 0.1 },
      { key: 2, text: 0.2, vector: 0.6 },
    ]);
  });
});

describe("a context", () => {
  const counting = async (texts: readonly string[]) => ({ counts: texts.map(estimatedTokens), estimated: true });

  it("is never over its budget, has nothing twice, and the snapshot first, whatever there is", async () => {
    const next = random(7);
    for (let round = 0; round < 150; round++) {
      const pieces = Array.from(
        { length: Math.floor(next() * 60) },
        (_, at): Piece => ({
          tier: tiers[Math.floor(next() * tiers.length)] ?? "working",
          collection: "c",
          id: String(at),
          content: textOf(next, Math.floor(next() * 120)),
          relevance: next(),
        }),
      );
      const snapshot: Piece | undefined =
        next() < 0.5
          ? { tier: "operational", collection: "snapshot", id: "", content: "now: 5 % busy", relevance: 1 }
          : undefined;
      const tokensMax = Math.floor(next() ** 3 * 6_000);
      const { chunks, totalTokens } = await assemble({
        snapshot,
        pieces: [...pieces, ...pieces],
        tokensMax,
        count: counting,
      });
      expect(totalTokens).toBeLessThanOrEqual(tokensMax);
      expect(totalTokens).toBe(chunks.reduce((sum, { content }) => sum + estimatedTokens(content), 0));
      expect(new Set(chunks.map(({ content }) => content)).size).toBe(chunks.length);
      if (snapshot !== undefined && tokensMax >= estimatedTokens(snapshot.content))
        expect(chunks[0]?.collection).toBe("snapshot");
    }
  });

  const piece = (tier: Piece["tier"], id: string, relevance: number, words = 40): Piece => ({
    tier,
    collection: tier,
    id,
    content: Array.from({ length: words }, (_, at) => `${id}w${at}`).join(" "),
    relevance,
  });

  it("gives each tier its share, and what one leaves to the others", async () => {
    const many = (tier: Piece["tier"]) =>
      Array.from({ length: 30 }, (_, at) => piece(tier, `${tier}${at}`, 0.9 - at / 100));
    const size = estimatedTokens(piece("working", "working10", 1).content);
    const both = await assemble({
      snapshot: undefined,
      pieces: [...many("working"), ...many("knowledge")],
      tokensMax: size * 14,
      count: counting,
    });
    const of = (context: typeof both, tier: string) => context.chunks.filter((chunk) => chunk.tier === tier).length;
    expect(of(both, "working") / of(both, "knowledge")).toBeGreaterThan(1.8);
    expect(of(both, "knowledge")).toBeGreaterThanOrEqual(3);
    const few = await assemble({
      snapshot: undefined,
      pieces: [piece("working", "only", 0.9), ...many("knowledge")],
      tokensMax: size * 14,
      count: counting,
    });
    expect(of(few, "working")).toBe(1);
    expect(of(few, "knowledge")).toBeGreaterThanOrEqual(11);
  });

  it("leaves out what says nearly the same as a better piece", async () => {
    const first = piece("longterm", "a", 0.8, 100);
    const again = { ...first, id: "b", content: `${first.content} again`, relevance: 0.7 };
    const { chunks } = await assemble({
      snapshot: undefined,
      pieces: [again, first],
      tokensMax: 5_000,
      count: counting,
    });
    expect(chunks.map(({ id }) => id)).toEqual(["a"]);
  });
});

describe("tokens", () => {
  it("are the tokenizer's, remembered, and estimates for a while when it is away", async () => {
    let nowMs = 0;
    let calls = 0;
    let away = false;
    const count = tokenCounter(
      async (text) => {
        calls++;
        if (away) throw new Error("away");
        return text.length;
      },
      { monotonic: () => nowMs },
    );
    expect(await count(["abc", "de"])).toEqual({ counts: [3, 2], estimated: false });
    expect(await count(["abc", "de"])).toEqual({ counts: [3, 2], estimated: false });
    expect(calls).toBe(2);
    away = true;
    expect(await count(["new words"])).toEqual({ counts: [estimatedTokens("new words")], estimated: true });
    expect((await count(["abc"])).estimated).toBe(true);
    expect(calls).toBe(3);
    away = false;
    nowMs = 10_000;
    expect(await count(["abc"])).toEqual({ counts: [3], estimated: false });
  });

  it("are estimated on the high side", () => {
    expect(estimatedTokens("The quick brown fox jumps over the lazy dog.")).toBeGreaterThanOrEqual(10);
    expect(estimatedTokens('{"path":"/etc/aios/config.toml","size":123}')).toBeGreaterThanOrEqual(17);
    expect(estimatedTokens("日本語")).toBeGreaterThanOrEqual(3);
  });
});
