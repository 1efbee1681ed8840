import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { openLog } from "#lib/log";
import { compiled } from "#lib/testing/compiled";
import { chatPieces } from "./between/chat.ts";
import { chatForm } from "./between/chat-form.ts";
import { startWorker } from "./between/worker-process.ts";
import { readModelHeader } from "./files/gguf.ts";
import type { Context, Model } from "./worker/binding.ts";
import { embedTexts } from "./worker/embedding.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const bindingFolder = here("../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64");

let folder: string;
let whole: Buffer;
let path: string;

beforeAll(() => {
  folder = mkdtempSync("/tmp/aios-odd-models-");
  path = join(folder, "model.gguf");
  execFileSync(process.execPath, [here("../../image/model/write.ts"), path]);
  whole = readFileSync(path);
});
afterAll(() => rmSync(folder, { recursive: true }));

const text = (value: string) => {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes]);
};
const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const entry = (key: string, type: number, value: Buffer) => Buffer.concat([text(key), uint32(type), value]);

/** The bring-up model with more metadata, its tensors at the next multiple of `alignment`. */
function withEntries(entries: readonly Buffer[], alignment = 32, from = whole): Buffer {
  const name = "output.weight";
  const endIn = (bytes: Buffer) => bytes.lastIndexOf(text(name)) + 8 + name.length + 4 + 2 * 8 + 4 + 8;
  const data = whole.subarray(Math.ceil(endIn(whole) / 32) * 32);
  const head = Buffer.from(whole.subarray(0, 24));
  head.writeBigUInt64LE(head.readBigUInt64LE(16) + BigInt(entries.length), 16);
  const header = Buffer.concat([head, ...entries, from.subarray(24, endIn(from))]);
  const padding = Math.ceil(header.length / alignment) * alignment - header.length;
  return Buffer.concat([header, Buffer.alloc(padding), data]);
}

/** The bring-up model with another chat template. */
function withTemplate(template: string): Buffer {
  const key = text("tokenizer.chat_template");
  const at = whole.indexOf(key) + key.length + 4;
  const length = Number(whole.readBigUInt64LE(at));
  return Buffer.concat([
    whole.subarray(0, at + 8),
    Buffer.from(template.padEnd(length)),
    whole.subarray(at + 8 + length),
  ]);
}

/** Loads the file as the daemon does; what the worker says, and the first words of an answer, or why it did not load. */
async function load(bytes: Buffer, kind: "generation" | "embedding" = "generation") {
  writeFileSync(path, bytes);
  const logged: string[] = [];
  const log = openLog("runtime", "debug", (line) => logged.push(line), systemClock.now);
  let child: ChildProcess | undefined;
  const start = () => {
    child = spawn(process.execPath, [here("worker/worker.ts")], {
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: { ...compiled, UV_THREADPOOL_SIZE: "1" },
    });
    return child;
  };
  const worker = startWorker(start, "odd", systemClock, log);
  try {
    const { chatTemplate, separatorToken: endToken } = readModelHeader(path);
    await worker.load({
      ...{ model: "odd", modelPath: path, kind, backend: "cpu", gpuLayers: 0, chatTemplate, endToken, bindingFolder },
      ...{ contextTokens: 256, sequences: 1, batchTokens: 64, threads: 1 },
    });
    const { tokens } = await worker.count({ messages: [{ role: "user", content: "hello" }], truncate: false });
    return { tokens, said: logged.join("\n") };
  } finally {
    worker.stop();
    await worker.ended;
  }
}

describe("a chat template", () => {
  const role = "{{ '<|im_start|>' + message['role'] }}";
  const partsOnly = `{% for message in messages %}${role}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}`;

  it("that takes lists of parts alone is given them, and it is said", async () => {
    const { said, tokens } = await load(withTemplate(partsOnly));
    expect(tokens).toBeGreaterThan(1);
    expect(said).toContain("takes lists of parts");
  });

  it("that asks for tools, or for documents, is told that there are none", async () => {
    const asking =
      "{% if tools is not none %}{{ tools | tojson }}{% endif %}{{ documents + '' if documents is not none }}";
    const { said, tokens } = await load(withTemplate(`${asking}{{ messages[0]['content'] }}`));
    expect(tokens).toBeGreaterThan(0);
    expect(said).not.toContain("chat template");
  });

  it.each([
    ["fails", "{{ raise_exception('not today') }}"],
    ["is no template", "{% for message in %}"],
    ["leaves the question out", "{{ '<|im_start|>' }}"],
  ])("that %s is replaced, and it is said", async (_, template) => {
    const { said, tokens } = await load(withTemplate(template));
    expect(tokens).toBeGreaterThan(1);
    expect(said).toMatch(/chat template cannot be used, ChatML is used instead/);
  });

  it("is not needed for vectors", async () => {
    expect((await load(withTemplate("{% for message in %}"), "embedding")).said).not.toContain("chat template");
  });

  it("of one's own, without ChatML's marks in the vocabulary, leaves plain text", () => {
    const told: string[] = [];
    const compile = () => {
      throw new Error("line 1: no");
    };
    const form = chatForm(
      "{%",
      compile,
      { bos: "", eos: "" },
      () => false,
      (message) => told.push(message),
    );
    expect(form.render).toBeUndefined();
    expect(told).toEqual([expect.stringMatching(/plain text is used instead: line 1: no/)]);
  });

  it("is given parts where the system text moves into the question, too", () => {
    const asked = [
      { role: "system", content: "s" },
      { role: "user", content: "q" },
    ] as const;
    const parts = (list: unknown) => (list as { text: string }[]).map((part) => part.text).join("");
    const render = (items: Record<string, unknown>) =>
      (items["messages"] as { role: string; content: unknown }[])
        .map(({ role: who, content }) => {
          if (who === "system") throw new Error("no system");
          return parts(content);
        })
        .join("");
    const pieces = chatPieces(render, { bos: "", eos: "" }, asked, (content) => [{ type: "text", text: content }]);
    expect(pieces.map((piece) => piece.text).join("")).toBe("s\n\nq");
  });
});

describe("a model of BERT's kind", () => {
  it("is known by its architecture, or by its attention", () => {
    writeFileSync(path, whole);
    expect(readModelHeader(path)).toMatchObject({ generates: true, separatorToken: undefined });
    writeFileSync(path, withEntries([entry("llama.attention.causal", 7, Buffer.of(0))]));
    expect(readModelHeader(path).generates).toBe(false);
    const key = text("general.architecture");
    const at = whole.indexOf(key) + key.length + 4;
    const bert = Buffer.concat([whole.subarray(0, at), text("bert"), whole.subarray(at + 13)]);
    writeFileSync(path, withEntries([], 32, bert));
    expect(readModelHeader(path)).toMatchObject({ architecture: "bert", generates: false });
    const named = withEntries([entry("tokenizer.ggml.seperator_token_id", 4, uint32(7))]);
    const vocabulary = text("gpt2");
    named.write("bert", named.indexOf(vocabulary) + 8);
    writeFileSync(path, named);
    expect(readModelHeader(path).separatorToken).toBe(7);
  });

  it("has the end of a text by its own token", async () => {
    const given: number[][] = [];
    const model = {
      shouldPrependBosToken: () => true,
      tokenBos: () => 101,
      shouldAppendEosToken: () => false,
      tokenize: () => Uint32Array.of(7, 8, 9),
    } as unknown as Model;
    const context = {
      disposeSequence() {},
      initBatch() {},
      addToBatch: (_: number, __: number, tokens: Uint32Array) => given.push([...tokens]),
      decodeBatch: async () => {},
      getEmbedding: () => Float64Array.of(3, 4),
    } as unknown as Context;
    const embedding = { texts: ["x"], from: 0, truncate: true };
    const { vectors } = await embedTexts(model, context, embedding, { most: 4, endToken: 102 });
    await embedTexts(model, context, embedding, { most: 8, endToken: undefined });
    expect(given).toEqual([
      [101, 7, 8, 102],
      [101, 7, 8, 9],
    ]);
    expect(vectors).toEqual([[0.6, 0.8]]);
  });
});

describe("tensors that do not lie where llama.cpp reads them", () => {
  it("are told in words, instead of costing a worker", async () => {
    const bytes = withEntries([entry("general.alignment", 4, uint32(8))], 8);
    await expect(load(bytes)).rejects.toThrow(/begins at byte \d+, not at a multiple of 32 \(general.alignment is 8\)/);
  });
});
