import { describe, expect, it } from "vitest";
import { ending, textWithin } from "./text.ts";

describe("the end of a text", () => {
  it("has no half of a character", () => {
    expect([ending("abc", 2), ending("abc", 9), ending("", 1)]).toEqual(["bc", "abc", ""]);
    expect([ending("a\u{1F600}b", 2), ending("a\u{1F600}b", 3)]).toEqual(["b", "\u{1F600}b"]);
  });
});

describe("the text of a part of UTF-8", () => {
  it("leaves out the parts of characters at both ends, wherever it was cut", () => {
    const all = "é磁\u{1F600}a";
    const bytes = Buffer.from(all);
    for (let from = 0; from <= bytes.length; from += 1) {
      for (let end = from; end <= bytes.length; end += 1) {
        const text = textWithin(bytes.subarray(from, end));
        expect(all, `${from} to ${end}`).toContain(text);
        expect(bytes.subarray(from, end).length - Buffer.byteLength(text)).toBeLessThanOrEqual(6);
      }
    }
  });

  it("keeps a byte order mark, and shows what is no UTF-8", () => {
    expect(textWithin(Buffer.from("\ufeffa"))).toBe("\ufeffa");
    expect(textWithin(Buffer.from([0x61, 0xff, 0x62]))).toBe("a\ufffdb");
  });
});
