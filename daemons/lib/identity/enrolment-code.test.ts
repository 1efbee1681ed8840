import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { formatCode, newSecret, parseCode, shortFingerprint } from "./enrolment-code.ts";

const fingerprint = createHash("sha256").update("a certificate").digest();

describe("enrolment code", () => {
  it("is read back from what people type", () => {
    const code = { secret: newSecret(), fingerprint: shortFingerprint(fingerprint) };
    const text = formatCode(code);
    expect(text).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$/);
    const typed = text.toLowerCase().replaceAll("-", " ").replaceAll("0", "o").replaceAll("1", "l");
    for (const form of [text, typed, text.replaceAll("-", "")]) expect(parseCode(form)).toEqual(code);
  });

  it("carries the first 80 bits of the fingerprint", () => {
    const changedAt = (bit: number) => {
      const other = Buffer.from(fingerprint);
      other.writeUInt8(other.readUInt8(bit >> 3) ^ (0x80 >> (bit & 7)), bit >> 3);
      return shortFingerprint(other);
    };
    for (const bit of [0, 7, 40, 79]) expect(changedAt(bit), `bit ${bit}`).not.toBe(shortFingerprint(fingerprint));
    expect(changedAt(80)).toBe(shortFingerprint(fingerprint));
    expect(shortFingerprint(Buffer.alloc(32, 0xff))).toBe("Z".repeat(16));
    expect(shortFingerprint(Buffer.alloc(32))).toBe("0".repeat(16));
  });

  it("notices nearly all slips before anything is sent", () => {
    const text = formatCode({ secret: "ABCDEFG", fingerprint: shortFingerprint(fingerprint) }).replaceAll("-", "");
    let unnoticed = 0;
    for (let at = 0; at < text.length - 1; at++)
      for (const other of "0123456789ABCDEFGHJKMNPQRSTVWXYZ")
        if (other !== text[at] && parseCode(text.slice(0, at) + other + text.slice(at + 1))) unnoticed++;
    expect(unnoticed / (23 * 31)).toBeLessThan(0.06);
    for (const wrong of ["", "ABCD", `${text}0`, text.slice(1)]) expect(parseCode(wrong)).toBeUndefined();
  });

  it("has another secret each time", () => {
    expect(new Set(Array.from({ length: 100 }, newSecret)).size).toBe(100);
  });
});
