import { afterEach, describe, expect, it } from "vitest";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer } from "#lib/testing/model-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import type { ProviderSettings } from "./settings.ts";
import { drain, HastyClock, openTwin, provider, request, settings, type Twin, theKey } from "./testing/twins.ts";

let server: ModelServer;
let twin: Twin;

const open = async (protocol: "claude" | "openai", options = {}, more: Partial<ProviderSettings> = {}) => {
  server = await { claude: openClaudeServer, openai: openOpenaiServer }[protocol](options);
  twin = await openTwin(settings([provider(protocol, server.url, more)]), new HastyClock());
};
afterEach(async () => {
  twin.close();
  await server.close();
});

const tools = [{ name: "fs.read", description: "", inputSchema: Buffer.from("{}") }];
const rows = () => twin.database.prepare<[], { outcome: string }>("SELECT outcome FROM usage").all();

describe("a part that an endpoint refuses", () => {
  const schema = '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}';

  it.each(["temperature", "response_format", "tool_choice", "stream_options"])(
    "is left out from then on: %s",
    async (part) => {
      await open("openai", { refuses: [part] });
      const asked = { temperature: 0.5, jsonSchema: schema, tools, prompt: "one" };
      const ask = async (prompt: string) =>
        (await drain(twin.gateway.streamInfer(request({ ...asked, prompt })))).response;
      for (let n = 0; n < 2; n++) server.say({ text: '{"a":"b"}' });
      expect(JSON.parse((await ask("one"))?.text ?? "")).toEqual({ a: "b" });
      expect(JSON.parse((await ask("two"))?.text ?? "")).toEqual({ a: "b" });
      expect(server.requests.map(({ body }) => part in body)).toEqual([true, false, false]);
      expect(twin.logged.filter((line) => line.includes("is asked without"))).toHaveLength(1);
      expect(rows().map(({ outcome }) => outcome)).toEqual(["answered", "answered"]);
      if (part === "response_format")
        expect(JSON.stringify(server.requests[1]?.body.messages)).toContain("JSON Schema");
    },
  );

  it("is looked for in a moment, however much the refusal says", async () => {
    await open("openai");
    server.say({ status: 400, message: "schema ".repeat(60_000) });
    const before = process.cpuUsage();
    await expect(twin.gateway.infer(request({ jsonSchema: schema }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(3_000);
  });

  it("is not one whose value is out of range", async () => {
    await open("openai");
    server.say({ status: 400, message: "temperature must be between 0 and 1" });
    await expect(twin.gateway.infer(request({ temperature: 2 }))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await twin.gateway.infer(request({ temperature: 1 }));
    expect(server.requests.map(({ body }) => body.temperature)).toEqual([2, 1]);
  });

  it("may be a schema: others are asked for as before", async () => {
    await open("claude");
    server.say({ status: 400, message: "output_config.format.schema: Schema is too complex." }, { text: '{"a":"b"}' });
    expect((await twin.gateway.infer(request({ jsonSchema: schema }))).text).toBe('{"a":"b"}');
    server.say({ text: '{"b":1}' });
    await twin.gateway.infer(request({ jsonSchema: schema.replaceAll('"a"', '"b"').replace("string", "number") }));
    expect(server.requests.map(({ body }) => "output_config" in body)).toEqual([true, false, true]);
  });

  it("may be max_tokens, under its other name", async () => {
    await open("openai");
    const message =
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
    server.say({ status: 400, message });
    await twin.gateway.infer(request({ maxTokens: 7 }));
    expect(
      server.requests.map(({ body: { max_tokens, max_completion_tokens } }) => [max_tokens, max_completion_tokens]),
    ).toEqual([
      [7, undefined],
      [undefined, 7],
    ]);
  });
});

describe("temperature", () => {
  it("is sent where somebody wished one, 0 too, and left unset else", async () => {
    await open("openai");
    await twin.gateway.infer(request());
    await twin.gateway.infer(request({ temperature: 0 }));
    expect(server.requests.map(({ body }) => body.temperature)).toEqual([undefined, 0]);
  });
});

describe("the key", () => {
  it.each(["x-api-key", "authorization"] as const)("is read by a server of one's own in %s", async (takes) => {
    await open("claude", { key: theKey, takes });
    expect(await twin.gateway.infer(request())).toMatchObject({ text: "ok" });
  });

  it.each(["claude", "openai"] as const)("is none where none is needed: %s", async (protocol) => {
    await open(protocol, {}, { needsKey: false });
    expect(await twin.gateway.infer(request())).toMatchObject({ text: "ok" });
    const { headers } = server.requests[0] ?? {};
    expect([headers?.["authorization"], headers?.["x-api-key"]]).toEqual([undefined, undefined]);
  });
});
