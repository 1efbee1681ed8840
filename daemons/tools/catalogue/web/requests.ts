import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";
import { changes, reads } from "../../tool.ts";
import {
  alsoLocal,
  answerFields,
  answerOf,
  bodyLimit,
  headersField,
  type Outbound,
  object,
  readBody,
  requestOf,
  send,
  urlField,
} from "../shared/index.ts";
import { extract, htmlMaxBytes } from "./scrape.ts";

export const requestTool = (outbound: Outbound) =>
  changes({
    name: "web.http_request",
    summary: "Sends an HTTP request of any method and gives back the answer, its body up to 500,000 bytes.",
    input: object({
      url: urlField,
      method: Type.Optional(Type.Enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])),
      headers: Type.Optional(headersField),
      body: Type.Optional(Type.String({ maxLength: 1_000_000 })),
      body_bytes_max: bodyLimit,
    }),
    output: object(answerFields),
    resources: { url: "url" },
    capabilities: ["web:request:{url}"],
    alsoNeeds: alsoLocal,
    irreversible: "what the other side did with the request is out of reach",
    risk: "medium",
    // What is sent is out of the machine for good.
    riskOf: ({ body = "" }) => (body === "" ? "medium" : "high"),
    timeoutMs: 30_000,
    idempotent: false,
    confirmationWhen: {
      what: "of a method that changes something",
      holds: ({ method = "GET" }) => !["GET", "HEAD", "OPTIONS"].includes(method),
    },
    preview: async ({ input: { method = "GET", body = "" }, resources: { url } }) =>
      `sends ${method} to ${url.name}${body === "" ? "" : ` with\n${body}`}`,
    run: async (call) => {
      const { method = "GET", headers = {}, body, body_bytes_max: bytesMax } = call.input;
      return answerOf(await send(requestOf(call, "web:request", outbound, { method, headers, body })), bytesMax);
    },
  });

export const scrapeTool = (outbound: Outbound) =>
  reads({
    name: "web.scrape",
    summary: "Fetches a page of at most 2 MiB and gives back its title, its text and its links.",
    input: object({
      url: urlField,
      text_length_max: Type.Optional(Type.Integer({ minimum: 1, maximum: 200_000, description: "characters of text" })),
    }),
    output: object({
      url: Type.String(),
      status: Type.Integer(),
      title: Type.String(),
      text: Type.String(),
      links: Type.Array(object({ text: Type.String(), url: Type.String() })),
      truncated: Type.Boolean({ description: "the page, its text or its links were cut" }),
    }),
    resources: { url: "url" },
    capabilities: ["web:request:{url}"],
    alsoNeeds: alsoLocal,
    timeoutMs: 30_000,
    run: async (call) => {
      const answer = await send(
        requestOf(call, "web:request", outbound, { headers: { accept: "text/html,text/plain;q=0.9" } }),
      );
      const type = answer.headers["content-type"] ?? "text/html";
      if (!/^(text\/|application\/(xhtml|xml|json))/i.test(type)) {
        answer.body.destroy();
        throw new AiosError("FAILED_PRECONDITION", {
          act: "scrape",
          object: answer.url,
          reason: `it is ${beginning(type, 100)}, not text`,
          next: "fetch it by web.download",
        });
      }
      const { content, truncated } = await readBody(answer, htmlMaxBytes);
      const page = extract(content, type, answer.url, call.input.text_length_max ?? 50_000);
      return { url: answer.url, status: answer.status, ...page, truncated: truncated || page.truncated };
    },
  });
