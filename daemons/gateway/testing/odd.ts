import { expect } from "vitest";
import type { ModelServer, Reply } from "#lib/testing/model-server";
import type { ApiInferRequest } from "#proto/aios/api_gateway";
import type { InferenceResponse } from "#proto/aios/common";
import { request, type Twin } from "./twins.ts";

/** For tests: what providers have been seen to send, and what comes of it. */

/** Something that a provider, or a server that speaks a provider's protocol, has been seen to send. */
export interface Odd {
  readonly what: string;
  /** The sender, and where and when it was told. */
  readonly source: string;
  readonly reply: Reply;
  /** The caller's answer. */
  readonly answer?: object;
  /** The error that the caller gets. */
  readonly error?: { readonly code: string; readonly message: RegExp };
}

export const json = (body: unknown, status = 200): Reply => ({
  raw: { type: "application/json", body: JSON.stringify(body), status },
});
export const above = (least: number) => expect.toSatisfy((value: number) => value > least);

export const tools = [{ name: "fs.read", description: "", inputSchema: Buffer.from("{}") }];

/** How often the provider is asked until the caller has an answer. */
export const asks = ({ answer }: Odd) => (answer as { requests?: number } | undefined)?.requests ?? 1;

/** Asks, and holds the table's word against what comes. Resolves to how often the provider was asked. */
export async function held(
  { reply, answer, error }: Odd,
  server: ModelServer,
  { database }: Twin,
  ask: (asked: ApiInferRequest) => Promise<InferenceResponse | undefined>,
) {
  const rows = () => database.prepare<[], { outcome: string }>("SELECT outcome FROM usage").all();
  server.say(reply);
  const asked = ask(request({ tools }));
  if (error !== undefined) {
    await expect(asked).rejects.toMatchObject({ code: error.code, message: expect.stringMatching(error.message) });
    // What was answered is paid for; what was refused is not.
    expect(rows()).toEqual(error.code === "OUT_OF_RANGE" ? [{ outcome: "cut" }] : []);
    return server.requests.length;
  }
  const { calls, requests: _, ...expected } = answer as { calls?: string[]; requests?: number };
  const given = (await asked) as InferenceResponse;
  expect(given).toMatchObject(expected);
  if (calls !== undefined)
    expect(given.toolCalls.map(({ argumentsJson }) => JSON.parse(String(argumentsJson)).path)).toEqual(calls);
  expect(new Set(given.toolCalls.map(({ id }) => id)).size).toBe(given.toolCalls.length);
  expect(rows()).toEqual([{ outcome: "answered" }]);
  return server.requests.length;
}
