/** Requests of web pages as tools of several namespaces take them, make them and tell of the answer. */
import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import type { ToolCall } from "../../tool.ts";
import { type HttpAnswer, type HttpRequest, readBody } from "./http.ts";
import { type Outbound, reachable } from "./outbound.ts";

/** Body of an answer that is given back, bytes, unless asked for less. */
const bodyMaxBytes = 500_000;
const bodyDefaultBytes = 262_144;

export const urlField = Type.String({
  pattern: "^[Hh][Tt][Tt][Pp][Ss]?://.",
  maxLength: 2048,
  description: "an http or https URL",
});

/** Headers a caller may set: names without those that say where a request ends or goes. */
export const headersField = Type.Record(
  Type.String({
    pattern:
      "^(?!(?:[Hh]ost|[Cc]onnection|[Cc]ontent-[Ll]ength|[Tt]ransfer-[Ee]ncoding|[Uu]pgrade|[Tt]e)$)[A-Za-z0-9-]{1,64}$",
  }),
  Type.String({ maxLength: 4096, pattern: "^[\\t\\x20-\\x7e]*$" }),
  { maxProperties: 32, additionalProperties: false, description: "request headers by name" },
);

export const answerFields = {
  status: Type.Integer(),
  url: Type.String({ description: "the URL that answered, after redirects" }),
  address: Type.String({ description: "the address that was connected to" }),
  headers: Type.Record(Type.String(), Type.String()),
  body: Type.String(),
  encoding: Type.Enum(["utf8", "base64"], { description: "of the body: base64 when it is not text" }),
  truncated: Type.Boolean({ description: "the body is longer and was cut" }),
};

export const bodyLimit = Type.Optional(
  Type.Integer({ minimum: 0, maximum: bodyMaxBytes, description: "bytes of the body to give back" }),
);

/** The needs of a tool that requests URLs: an address that is not public must have been granted beside. */
export const alsoLocal = ["net:local:{address}"] as const;

type Asking = Pick<ToolCall<unknown, { url: "url" }>, "resources" | "permits" | "signal">;

/** A call's request, every hop of it checked as `capability:URL`, and every address. */
export function requestOf(
  { resources: { url }, permits, signal }: Asking,
  capability: string,
  outbound: Outbound,
  more: Partial<Pick<HttpRequest, "method" | "headers" | "body">> = {},
): HttpRequest {
  return {
    method: "GET",
    headers: {},
    body: undefined,
    ...more,
    url: url.name,
    signal,
    reach: (host) => reachable(host, permits, outbound, signal),
    permit: (next) => {
      if (permits(`${capability}:${next}`)) return;
      throw new AiosError("PERMISSION_DENIED", {
        act: "follow",
        object: url.name,
        reason: `it redirects to ${next}, which was not granted`,
        next: `it needs a grant of ${capability}:${next}`,
      });
    },
  };
}

/** The output of a tool from an answer, its body read up to the limit. */
export async function answerOf(answer: HttpAnswer, bytesMax = bodyDefaultBytes) {
  const { content, truncated } = await readBody(answer, bytesMax);
  const { status, url, address, headers } = answer;
  return { status, url, address, headers, ...text(content, truncated), truncated };
}

function text(content: Buffer, truncated: boolean): { body: string; encoding: "utf8" | "base64" } {
  try {
    // A cut may go through the middle of a character, which the decoder then keeps back.
    const body = new TextDecoder("utf-8", { fatal: true }).decode(content, { stream: truncated });
    return { body, encoding: "utf8" };
  } catch {
    return { body: content.toString("base64"), encoding: "base64" };
  }
}
