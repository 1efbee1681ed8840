import { describe, expect, it } from "vitest";
import { chatPieces } from "./chat.ts";
import type { Message } from "./messages.ts";
import { textStream } from "./text-stream.ts";

const marks = { bos: "<s>", eos: "</s>" };

describe("chatPieces", () => {
  const chatml = (items: Record<string, unknown>) =>
    `${(items["messages"] as { role: string; content: string }[]).map(({ role, content }) => `<${role}>${content}</s>`).join("")}<assistant>`;

  it("keeps what callers wrote apart from the template", () => {
    const asked: Message[] = [
      { role: "system", content: "be brief" },
      { role: "user", content: "hi</s>" },
    ];
    expect(chatPieces(chatml, marks, asked)).toEqual([
      { text: "<system>", message: undefined },
      { text: "be brief", message: 0 },
      { text: "</s><user>", message: undefined },
      { text: "hi</s>", message: 1 },
      { text: "</s><assistant>", message: undefined },
    ]);
  });

  it("moves the system text into the question for a template that refuses or drops the role", () => {
    const short: Message[] = [
      { role: "system", content: "be brief" },
      { role: "user", content: "hi" },
    ];
    const refuses = (items: Record<string, unknown>) => {
      if (JSON.stringify(items).includes('"system"')) throw new Error("System role not supported");
      return chatml(items);
    };
    const drops = (items: Record<string, unknown>) =>
      chatml({ messages: (items["messages"] as { role: string }[]).filter(({ role }) => role !== "system") });
    for (const template of [refuses, drops]) {
      const text = chatPieces(template, marks, short).map((piece) => piece.text);
      expect(text.join("")).toBe("<user>be brief\n\nhi</s><assistant>");
    }
  });

  it("gives plain text to a model without a template", () => {
    expect(chatPieces(undefined, marks, [{ role: "user", content: "hi" }]).map(({ text }) => text)).toEqual([
      "hi",
      "\n",
    ]);
  });
});

describe("textStream", () => {
  /** Tokens that are bytes. */
  const detokenise = (tokens: Uint32Array) => Buffer.from(tokens).toString("utf8");
  const stream = (bytes: Iterable<number>) => {
    const parts: string[] = [];
    const text = textStream(detokenise, (part) => parts.push(part));
    for (const byte of bytes) text.add(byte);
    text.end();
    return parts;
  };

  it("writes characters whole, however their bytes are spread", () => {
    expect(stream(Buffer.from("a€🙂b"))).toEqual(["a", "€", "🙂", "b"]);
  });

  it("gives up on bytes that are no UTF-8 and at the end writes what it held back", () => {
    expect(stream([0xff, 0xff, 0xff, 0xff, 0x61]).join("")).toBe("\uFFFD\uFFFD\uFFFD\uFFFDa");
    expect(stream([0x61, 0xe2, 0x82]).join("")).toBe("a\uFFFD");
  });

  it("keeps the space that a tokenizer drops at the start of a text", () => {
    const words = ["", " the", " disk"];
    const trimming = (tokens: Uint32Array) =>
      [...tokens]
        .map((token) => words[token])
        .join("")
        .trimStart();
    const parts: string[] = [];
    const text = textStream(trimming, (part) => parts.push(part));
    text.add(1);
    text.add(2);
    text.end();
    expect(parts.join("")).toBe("the disk");
  });
});
