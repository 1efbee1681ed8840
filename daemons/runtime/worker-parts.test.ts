import { describe, expect, it } from "vitest";
import { answerCheck } from "#lib/answer-check";
import { InferRequest } from "#proto/aios/runtime";
import { chatPieces } from "./between/chat.ts";
import type { Message } from "./between/messages.ts";
import { metricsText } from "./questions/metrics.ts";
import { badUtf8 } from "./utf8.ts";
import { parcels } from "./worker/parcels.ts";
import { stopText } from "./worker/stop-text.ts";
import { textStream } from "./worker/text-stream.ts";

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

describe("stopText", () => {
  const said = (stops: string[], parts: string[]) => {
    let text = "";
    const stream = stopText(stops, (part) => (text += part));
    for (const part of parts) stream.add(part);
    stream.end();
    return { text, stopped: stream.stopped };
  };

  it("stops at a text that comes in parts, and says none of it", () => {
    expect(said(["END"], ["one ", "E", "N", "D", " two"])).toEqual({ text: "one ", stopped: true });
    expect(said(["END"], ["oneE", "NE", "ND"])).toEqual({ text: "oneEN", stopped: true });
    expect(said(["bc", "abcd"], ["xabcd"])).toEqual({ text: "xa", stopped: true });
  });

  it("says what only looked like one", () => {
    expect(said(["END"], ["one E", "N", "O"])).toEqual({ text: "one ENO", stopped: false });
    expect(said(["END"], ["one EN"])).toEqual({ text: "one EN", stopped: false });
    expect(said([], ["a", "b"])).toEqual({ text: "ab", stopped: false });
  });
});

it("parcels send the first text at once and then what has come in twenty milliseconds", () => {
  let now = 0;
  const sent: string[] = [];
  const text = parcels(
    (part) => sent.push(part),
    () => now,
  );
  for (; now < 30; now += 5) text.add(`${now} `);
  text.end();
  expect(sent).toEqual(["0 ", "5 10 15 20 ", "25 "]);
});

describe("answerCheck", () => {
  it("gives up on a pattern that takes for ever", async () => {
    const check = await answerCheck('{"type":"string","pattern":"^(a+)+$"}');
    const started = performance.now();
    expect(check(JSON.stringify(`${"a".repeat(60)}b`))).toMatch(/cannot be checked by the schema: .*timed out/);
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(check('"aaa"')).toBeUndefined();
    expect(check('"b"')).toMatch(/does not fit/);
  });
});

describe("badUtf8", () => {
  it("names the field, of those that are texts", () => {
    const fields = { 1: "model", 10: { name: "messages", fields: { 2: "content" } } } as const;
    const message = InferRequest.fromPartial({
      model: "\uE123",
      messages: [{ content: "ok" }, { content: "x\uE124" }],
    });
    const bytes = Buffer.from(InferRequest.encode(message).finish());
    expect(badUtf8(bytes, fields)).toBeUndefined();
    bytes[bytes.indexOf(Buffer.from("\uE124"))] = 0xff;
    expect(badUtf8(bytes, fields)).toBe("messages[1].content");
    expect(badUtf8(bytes, { 1: "model" })).toBeUndefined();
    bytes[bytes.indexOf(Buffer.from("\uE123"))] = 0xff;
    expect(badUtf8(bytes, fields)).toBe("model");
  });
});

it("metrics are in Prometheus' text format, whatever a label holds", () => {
  const samples = [{ labels: { model: 'a"b\\c\n' }, value: 1.5 }];
  expect(metricsText([{ name: "x", type: "gauge", help: "X.", samples }])).toBe(
    '# HELP x X.\n# TYPE x gauge\nx{model="a\\"b\\\\c\\n"} 1.5\n',
  );
});
