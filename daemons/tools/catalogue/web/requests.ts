import { createHash } from "node:crypto";
import { mkdir, open, readdir, rm } from "node:fs/promises";
import * as Type from "typebox";
import { callAfter } from "#lib/clock";
import { AiosError, errnoOf } from "#lib/errors";
import { beginning } from "#lib/text";
import { backupSizeMaxBytes } from "../../state/undo.ts";
import { changes, reads, type Tool, type ToolCall } from "../../tool.ts";
import { type HttpAnswer, type HttpRequest, readBody, send } from "../shared/http.ts";
import { type Outbound, reachable } from "../shared/outbound.ts";
import { absolutePath, named, object } from "../shared/words.ts";
import { placeFile, planWrite, undoWrite } from "../shared/write.ts";
import { extract, htmlMaxBytes } from "./scrape.ts";

/** Body of an answer that is given back, bytes, unless asked for less. */
const bodyMaxBytes = 500_000;
const bodyDefaultBytes = 262_144;

/** A download must be small enough to be backed up when it is replaced later. */
const downloadMaxBytes = backupSizeMaxBytes;

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

/** What a tool tells of an answer, its body read up to the limit. */
export async function told(answer: HttpAnswer, bytesMax = bodyDefaultBytes) {
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

/** `spool` is a folder of the tools' own, where downloads arrive before they are put in place. */
export function webTools(spool: string, outbound: Outbound): readonly Tool[] {
  return [requestTool(outbound), downloadTool(spool, outbound), scrapeTool(outbound)];
}

const requestTool = (outbound: Outbound) =>
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
      return told(await send(requestOf(call, "web:request", outbound, { method, headers, body })), bytesMax);
    },
  });

const scrapeTool = (outbound: Outbound) =>
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

/** A download that arrived in the spool. */
interface Arrived {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly url: string;
}

const downloadTimeoutMs = 120_000;

const downloadTool = (spool: string, outbound: Outbound) => {
  const arrived = new Map<string, Arrived>();
  // At the first download, not at the daemon's start: what lies there belongs to calls that died with an earlier one.
  let cleared: Promise<void> | undefined;
  const clear = async () => {
    await mkdir(spool, { recursive: true, mode: 0o700 });
    for (const name of await readdir(spool)) await rm(`${spool}/${name}`, { force: true });
  };
  const discard = async (executionId: string) => {
    arrived.delete(executionId);
    await rm(`${spool}/${executionId}`, { force: true });
  };
  return changes({
    name: "web.download",
    summary:
      "Downloads a URL to a file, at most 64 MiB, whole or not at all; tells its SHA-256, and checks it when given.",
    input: object({
      url: urlField,
      path: absolutePath,
      sha256: Type.Optional(
        Type.String({ pattern: "^[0-9a-f]{64}$", description: "what the file must have, hexadecimal" }),
      ),
      bytes_max: Type.Optional(Type.Integer({ minimum: 1, maximum: downloadMaxBytes })),
    }),
    output: object({
      path: Type.String(),
      bytes: Type.Integer(),
      sha256: Type.String(),
      url: Type.String({ description: "the URL that answered, after redirects" }),
    }),
    resources: { url: "url", path: "path" },
    capabilities: ["web:request:{url}", "fs:write:{path}"],
    alsoNeeds: alsoLocal,
    risk: "medium",
    timeoutMs: downloadTimeoutMs,
    idempotent: false,
    undo: {
      // A plan says what will be written, and what comes is known only when it is here: so it is fetched before.
      prepare: async (call, backups) => {
        const { executionId, input, resources } = call;
        // Should the act not follow, nobody else clears it away.
        callAfter(downloadTimeoutMs, () => discard(executionId), "unheld");
        try {
          cleared ??= clear();
          await cleared;
          const answer = await send(requestOf(call, "web:request", outbound));
          const fetched = await fetchTo(`${spool}/${executionId}`, answer, input.bytes_max ?? downloadMaxBytes);
          if (input.sha256 !== undefined && input.sha256 !== fetched.sha256) throw otherContent(fetched);
          arrived.set(executionId, fetched);
          return await named("back up", resources.path.path, () => planWrite(resources.path, fetched, backups));
        } catch (error) {
          await discard(executionId);
          throw error;
        }
      },
      restore: undoWrite.restore,
      settle: async (plan, call) => undoWrite.settle?.(plan, call),
    },
    run: async ({ executionId, resources: { path } }) => {
      const fetched = arrived.get(executionId);
      if (fetched === undefined) throw new Error("nothing has arrived");
      try {
        await using content = await open(fetched.file, "r");
        await named("write", path.path, () => placeFile(path, content, executionId));
        return { path: path.path, bytes: fetched.bytes, sha256: fetched.sha256, url: fetched.url };
      } finally {
        await discard(executionId);
      }
    },
  });
};

/** Streams an answer's body to a new file, as it comes. Throws when the answer is no success or too long. */
async function fetchTo(file: string, { status, url, body, headers }: HttpAnswer, bytesMax: number): Promise<Arrived> {
  const refuse = (reason: string) =>
    new AiosError("FAILED_PRECONDITION", { act: "download", object: url, reason, next: "nothing was written" });
  try {
    if (status < 200 || status > 299) throw refuse(`it answers with status ${status}`);
    const length = Number(headers["content-length"] ?? 0);
    if (length > bytesMax) throw refuse(`${length} bytes, at most ${bytesMax} are taken`);
    await using target = await open(file, "wx", 0o600);
    const sum = createHash("sha256");
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw refuse(`more than ${bytesMax} bytes`);
      sum.update(chunk);
      await target.writeFile(chunk);
    }
    return { file, bytes, sha256: sum.digest("hex"), url };
  } catch (error) {
    throw errnoOf(error) === "ECONNRESET" ? refuse("the connection was cut before its end") : error;
  } finally {
    body.destroy();
  }
}

function otherContent({ url, sha256, bytes }: Arrived): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "download",
    object: url,
    reason: `its SHA-256 is ${sha256} (${bytes} bytes), not the one that was asked for`,
    next: "nothing was written",
  });
}
