import grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { AIRuntimeService, InferRequest, type InferStatistics } from "#proto/aios/runtime";
import { callerLengthMax } from "./questions/queue.ts";
import { type Served, serveRuntime } from "./testing/served.ts";

let served: Served;
beforeAll(async () => {
  served = await serveRuntime();
});
afterAll(() => served.close());

const request = (fields: Partial<InferRequest>) =>
  InferRequest.fromPartial({ prompt: "Is the disk full?", maxTokens: 16, ...fields });

/** Text that goes on until it is stopped. */
const endless = { maxTokens: 900, jsonSchema: '{"type":"string","minLength":5000}' };

async function streamed(fields: Partial<InferRequest>): Promise<{ text: string; statistics: InferStatistics }> {
  let text = "";
  for await (const chunk of served.client.streamInfer(request(fields))) {
    text += chunk.text;
    if (chunk.statistics !== undefined) return { text, statistics: chunk.statistics };
  }
  throw new Error("the stream ended without its statistics");
}

/** Waits until no call uses or waits for the model: no sequence is stuck. */
async function untilIdle(): Promise<void> {
  const until = performance.now() + 60_000;
  while (served.runtime.waiting() > 0 || served.runtime.models().some(({ active }) => active > 0)) {
    if (performance.now() > until) throw new Error("calls are stuck");
    await systemClock.sleep(10);
  }
}

describe("sampling", () => {
  it("gives the same answer for the same seed and another for another", async () => {
    const ask = async (seed: number) => (await served.client.infer(request({ seed, temperature: 1 }))).text;
    expect(await ask(7)).toBe(await ask(7));
    expect(await ask(7)).not.toBe(await ask(8));
  });

  it("takes the likeliest token alone with top_k 1, whatever the seed", async () => {
    const ask = async (seed: number) => (await served.client.infer(request({ seed, topK: 1 }))).text;
    expect(await ask(1)).toBe(await ask(2));
  });

  it("ends at a stop text wherever its tokens are cut, and does not say it", async () => {
    const whole = (await streamed({ seed: 3, maxTokens: 64 })).text;
    for (const at of [5, 11, 20]) {
      const stop = whole.slice(at, at + 4);
      const { text, statistics } = await streamed({ seed: 3, maxTokens: 64, stop: ["never to come", stop] });
      expect(text).toBe(whole.slice(0, whole.indexOf(stop)));
      expect(statistics.finishReason).toBe("stop");
    }
  });
});

describe("conversations", () => {
  it("counts as many tokens as it then reads", async () => {
    const fields = {
      systemPrompt: "be brief",
      messages: [
        { role: "user", content: "hi" },
        { role: "assistant", content: "hello" },
      ],
    };
    const { tokens, contextTokens } = await served.client.countTokens(request(fields));
    const { statistics } = await streamed(fields);
    expect(tokens).toBe(statistics.promptTokens);
    expect(contextTokens).toBe(1024);
  });

  it("leaves out the oldest of what does not fit, when it is told to", async () => {
    const said = "disk ".repeat(100);
    const messages = Array.from({ length: 20 }, (_, at) => ({ role: at % 2 ? "assistant" : "user", content: said }));
    await expect(streamed({ messages })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/prompt has \d+ tokens and the model's context 1024 tokens/),
    });
    const { statistics } = await streamed({ messages, systemPrompt: "be brief", truncate: true, maxTokens: 8 });
    expect(statistics.droppedTokens).toBeGreaterThan(500);
    expect(statistics.promptTokens).toBeLessThanOrEqual(1024 - 8);
    expect(statistics.answerTokens).toBeGreaterThan(0);
  });

  it("cuts the beginning of a single question, however long", async () => {
    for (const prompt of ["disk ".repeat(2_000), "disk ".repeat(200_000)]) {
      const { statistics } = await streamed({ prompt, truncate: true, maxTokens: 8 });
      expect(statistics.promptTokens).toBe(1024 - 8);
    }
    const systemPrompt = "disk ".repeat(2_000);
    await expect(streamed({ systemPrompt, truncate: true })).rejects.toMatchObject({
      message: expect.stringContaining("system prompt alone"),
    });
  });

  it("reads a system prompt once", async () => {
    const systemPrompt = "The machine has eight agents and one operator, who is asleep. ".repeat(12);
    const first = await streamed({ systemPrompt, prompt: "Who?" });
    const others = await Promise.all(["Where?", "When?", "Why?"].map((prompt) => streamed({ systemPrompt, prompt })));
    const { tokens } = await served.client.countTokens(request({ prompt: systemPrompt }));
    for (const { statistics } of others) expect(statistics.reusedTokens).toBeGreaterThan(tokens * 0.9);
    expect(first.statistics.reusedTokens).toBeLessThan(32);
  });
});

describe("several calls at a time", () => {
  it("gives each its own answer", async () => {
    const ask = (at: number) => streamed({ prompt: `Question ${at}`, seed: at, maxTokens: 24 });
    const alone: string[] = [];
    for (let at = 0; at < 8; at++) alone.push((await ask(at)).text);
    const together = await Promise.all(Array.from({ length: 8 }, (_, at) => ask(at)));
    // Sums in another order round differently, so an answer may part from what it was alone; most do not.
    const same = together.filter(({ text }, at) => text === alone[at]).length;
    expect(same).toBeGreaterThan(4);
    expect(served.runtime.models().find(({ name }) => name === "tiny")?.loaded?.sequences).toBe(4);
  });

  it("refuses what is over its caller's share at once and finishes the rest", async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10_000 }, () => served.client.infer(request({ maxTokens: 1 }), { timeoutMs: 180_000 })),
    );
    const failed = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(failed.length).toBeGreaterThan(1_000);
    for (const { code, retryAfterMs } of failed) {
      expect(code).toBe("RESOURCE_EXHAUSTED");
      expect(retryAfterMs).toBeGreaterThan(0);
    }
    expect(outcomes.length - failed.length).toBeGreaterThan(callerLengthMax);
    await untilIdle();
  });

  it("is fair between agents whatever each asks", async () => {
    const [busy, modest] = await Promise.all(
      ["storage", "network"].map((name) => served.clientOf({ kind: "agent", name })),
    );
    const order: string[] = [];
    const ask = async (client: typeof busy, name: string) => {
      await client?.infer(request({ maxTokens: 12 }), { timeoutMs: 30_000 });
      order.push(name);
    };
    const calls = Array.from({ length: 40 }, () => ask(busy, "busy"));
    await systemClock.sleep(5);
    calls.push(...Array.from({ length: 4 }, () => ask(modest, "modest")));
    await Promise.all(calls);
    expect(order.lastIndexOf("modest")).toBeLessThan(30);
  });

  it("does not let agents ask in another's name, nor before people", async () => {
    const agent = await served.clientOf({ kind: "agent", name: "monitor" });
    for (const fields of [{ requestingAgent: "system" }, { priority: "health" }, { priority: "interactive" }]) {
      await expect(agent.infer(request(fields))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    }
    await expect(served.client.infer(request({ requestingAgent: "x".repeat(200) }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("requesting_agent"),
    });
    await agent.infer(request({ requestingAgent: "monitor", priority: "background", maxTokens: 1 }));
  });
});

describe("callers that leave or lag", () => {
  it("frees the sequences of cancelled streams at once", async () => {
    for (let round = 0; round < 5; round++) {
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          for await (const _ of served.client.streamInfer(request(endless))) break;
        }),
      );
    }
    const started = performance.now();
    await untilIdle();
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it("ends at the deadline", async () => {
    const started = performance.now();
    const calls = Array.from({ length: 8 }, () => served.client.infer(request(endless), { timeoutMs: 50 }));
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ reason: { code: "DEADLINE_EXCEEDED" } });
    }
    await untilIdle();
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe("bytes that are no UTF-8", () => {
  it.each<[string, Partial<InferRequest>]>([
    ["prompt", { prompt: "a\uE123b" }],
    ["system_prompt", { systemPrompt: "\uE123" }],
    [
      "messages[1].content",
      {
        messages: [
          { role: "user", content: "x" },
          { role: "assistant", content: "\uE123" },
        ],
      },
    ],
    ["stop", { stop: ["\uE123"] }],
  ])("are refused with the name of the field %s", async (field, fields) => {
    const { path, requestSerialize, responseDeserialize } = AIRuntimeService.infer;
    const raw = new grpc.Client(`unix:${served.socket}`, grpc.credentials.createInsecure());
    // The three bytes of U+E123, made wrong on their way.
    const spoil = (value: InferRequest) => {
      const bytes = requestSerialize(value);
      bytes.fill(0xff, bytes.indexOf(Buffer.from("\uE123")), bytes.indexOf(Buffer.from("\uE123")) + 3);
      return bytes;
    };
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      raw.makeUnaryRequest(path, spoil, responseDeserialize, request(fields), resolve);
    });
    raw.close();
    expect(error?.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(error?.details).toContain(`${field}: its bytes are not UTF-8`);
  });
});

describe("vectors", () => {
  it("have unit length and are the same for the same text, in the order of the texts", async () => {
    const texts = ["the disk is full", "the network is down", "the disk is full", ...new Array<string>(20).fill("x")];
    const { embeddings, modelUsed, tokensUsed } = await served.client.embed({
      ...{ texts, model: "", truncate: false, requestingAgent: "", priority: "" },
    });
    expect(modelUsed).toBe("vectors");
    expect(tokensUsed).toBeGreaterThan(texts.length);
    expect(embeddings).toHaveLength(texts.length);
    for (const { values } of embeddings) expect(Math.hypot(...values)).toBeCloseTo(1, 5);
    expect(embeddings[0]?.values).toEqual(embeddings[2]?.values);
    expect(embeddings[0]?.values).not.toEqual(embeddings[1]?.values);
  });

  it("are refused for texts that are too long, with the text's number, unless they may be cut", async () => {
    const ask = (texts: string[], truncate: boolean) =>
      served.client.embed({ texts, model: "", truncate, requestingAgent: "", priority: "" });
    const texts = [...new Array<string>(10).fill("short"), "disk ".repeat(2_000)];
    await expect(ask(texts, false)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/texts\[10\] has \d+ tokens, at most \d+/),
    });
    expect((await ask(texts, true)).embeddings).toHaveLength(11);
    await expect(ask([], false)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(ask(["a\0b"], false)).rejects.toMatchObject({ message: expect.stringContaining("texts[0]") });
    await expect(served.client.infer(request({ model: "vectors" }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});

describe("a worker that aborts in native code", () => {
  it("fails its own callers only, at once, and is back by itself", async () => {
    const embedding = () =>
      served.client.embed({ texts: ["x"], model: "", truncate: false, requestingAgent: "", priority: "" });
    await embedding();
    const tiny = served.runtime.models().find(({ name }) => name === "tiny");
    const calls = Array.from({ length: 4 }, () => served.client.infer(request(endless)));
    await systemClock.sleep(50);
    const died = performance.now();
    process.kill(tiny?.pid ?? 0, "SIGABRT");
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ reason: { code: "UNAVAILABLE", message: expect.stringContaining("SIGABRT") } });
    }
    expect(performance.now() - died).toBeLessThan(10_000);
    await embedding();
    for (;;) {
      const answer = await served.client.infer(request({ maxTokens: 1 })).catch(() => undefined);
      if (answer !== undefined) break;
      await systemClock.sleep(20);
    }
    expect(performance.now() - died).toBeLessThan(10_000);
  });
});

describe("metrics", () => {
  it("tell of calls, tokens, speed, waiting, loading and memory, model by model", async () => {
    await streamed({ maxTokens: 32 });
    const { text } = await served.client.getMetrics({});
    const value = (line: string) =>
      Number(
        text
          .split("\n")
          .find((each) => each.startsWith(`${line} `))
          ?.split(" ")[1],
      );
    expect(value('aios_runtime_calls_total{model="tiny",outcome="OK"}')).toBeGreaterThan(0);
    expect(value('aios_runtime_calls_total{model="tiny",outcome="UNAVAILABLE"}')).toBeGreaterThan(0);
    expect(value('aios_runtime_tokens_total{model="tiny",phase="answer"}')).toBeGreaterThan(31);
    expect(value('aios_runtime_tokens_per_second{model="tiny",phase="answer"}')).toBeGreaterThan(1);
    expect(value('aios_runtime_first_token_seconds_bucket{model="tiny",le="+Inf"}')).toBeGreaterThan(0);
    expect(value('aios_runtime_queue_seconds_count{model="tiny"}')).toBeGreaterThan(0);
    expect(value('aios_runtime_model_load_seconds{model="tiny"}')).toBeGreaterThan(0);
    expect(value('aios_runtime_worker_resident_bytes{model="tiny"}')).toBeGreaterThan(10_000_000);
    expect(value('aios_runtime_queue_refused_total{model="tiny"}')).toBeGreaterThan(1_000);
    expect(value('aios_runtime_queue_length{model="tiny",priority="health"}')).toBe(0);
  });
});
