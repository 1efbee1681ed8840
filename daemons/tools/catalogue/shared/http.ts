import { type ClientRequest, type IncomingMessage, request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import type { LookupFunction } from "node:net";
import { isIP, isIPv4 } from "node:net";
import type { Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { AiosError, errnoOf } from "#lib/errors";
import { beginning } from "#lib/text";
import { hostOf, resolveUrl } from "../../names.ts";
import { reachOf, spelled } from "./addresses.ts";

/** Redirects that are followed at most. */
const redirectsMax = 5;

/** Head of an answer, bytes. */
const headMaxBytes = 64 * 1024;

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly signal: AbortSignal;
  /** Asked before each hop that a redirect leads to, with its URL as resolved; throws when the caller may not. */
  permit(url: string): void;
  /** The addresses of a host that may be connected to; throws when there are none. */
  reach(host: string): Promise<readonly string[]>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The URL that answered, after redirects. */
  readonly url: string;
  /** The address that was connected to. */
  readonly address: string;
  readonly redirects: number;
  /** Read to its end or destroyed by the caller. */
  readonly body: IncomingMessage;
}

/** Sends a request and follows redirects, each of them checked as the first URL was. The body is yet to be read. */
export async function send(request: HttpRequest): Promise<HttpAnswer> {
  let hop: Pick<HttpRequest, "method" | "url" | "headers" | "body"> = request;
  for (let redirects = 0; ; redirects += 1) {
    const url = new URL(hop.url);
    const addresses = await request.reach(hostOf(url));
    const { answer, address } = await exchange(url, hop, addresses, request.signal);
    const location = redirection(answer);
    if (location === undefined) {
      return {
        status: answer.statusCode ?? 0,
        headers: headersOf(answer),
        url: hop.url,
        address,
        redirects,
        body: answer,
      };
    }
    answer.destroy();
    if (redirects === redirectsMax) throw failed(hop.url, `more than ${redirectsMax} redirects`);
    hop = next(hop, answer.statusCode ?? 0, location);
    request.permit(hop.url);
  }
}

/** At most `bytesMax` of a body, uncompressed; the rest is not fetched. */
export async function readBody(
  { body, headers, url }: HttpAnswer,
  bytesMax: number,
): Promise<{ content: Buffer; truncated: boolean }> {
  const chunks: Buffer[] = [];
  let room = bytesMax;
  let truncated = false;
  try {
    for await (const chunk of uncompressed(body, headers["content-encoding"]) as AsyncIterable<Buffer>) {
      truncated = chunk.length > room;
      chunks.push(chunk.subarray(0, room));
      room -= Math.min(room, chunk.length);
      if (truncated) break;
    }
    return { content: Buffer.concat(chunks), truncated };
  } catch (error) {
    throw told(error, url);
  } finally {
    body.destroy();
  }
}

function uncompressed(body: IncomingMessage, encoding = "identity"): Readable {
  const decoders: Readonly<Record<string, () => NodeJS.ReadWriteStream & Readable>> = {
    gzip: createGunzip,
    "x-gzip": createGunzip,
    deflate: createInflate,
    br: createBrotliDecompress,
  };
  const decoder = decoders[encoding.trim().toLowerCase()]?.();
  if (decoder === undefined) return body;
  body.on("error", (error) => decoder.destroy(error));
  return body.pipe(decoder);
}

/** One request to one of `addresses`, without a pool: a connection kept would have been checked for another call. */
function exchange(
  url: URL,
  { method, headers, body }: Pick<HttpRequest, "method" | "headers" | "body">,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<{ answer: IncomingMessage; address: string }> {
  const host = hostOf(url);
  const options = {
    method,
    host,
    port: url.port === "" ? undefined : Number(url.port),
    path: `${url.pathname}${url.search}`,
    headers: {
      "user-agent": "aiOS",
      accept: "*/*",
      "accept-encoding": "identity",
      ...lowered(headers),
      host: url.host,
    },
    agent: false,
    signal,
    lookup: pinned(addresses),
    maxHeaderSize: headMaxBytes,
    ...(isIP(host) === 0 && { servername: host }),
  } as const;
  return new Promise((resolve, reject) => {
    const sent: ClientRequest = url.protocol === "https:" ? secureRequest(options) : plainRequest(options);
    sent.on("error", (error) => reject(signal.aborted ? signal.reason : told(error, url.href)));
    sent.on("socket", (socket) =>
      socket.once("connect", () => {
        const found = socket.remoteAddress ?? "";
        if (!addresses.some((address) => spelled(address) === spelled(found)))
          sent.destroy(failed(url.href, `connected to ${found} (${reachOf(found)}), which was not checked`));
      }),
    );
    sent.on("response", (answer) => resolve({ answer, address: answer.socket.remoteAddress ?? "" }));
    sent.end(body);
  });
}

/** Answers every look-up of the connection with what was looked up and checked before. */
const pinned =
  (addresses: readonly string[]): LookupFunction =>
  (_, options, answer) => {
    const all = addresses.map((address) => ({ address, family: isIPv4(address) ? 4 : 6 }));
    if (options.all === true) return answer(null, all);
    answer(null, all[0]?.address ?? "", all[0]?.family);
  };

const lowered = (headers: HttpRequest["headers"]) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

function redirection({ statusCode = 0, headers: { location } }: IncomingMessage): string | undefined {
  return [301, 302, 303, 307, 308].includes(statusCode) ? location : undefined;
}

/** Where a redirect leads. Another origin does not get the caller's headers: they may hold a secret meant for the first. */
function next(hop: Pick<HttpRequest, "method" | "url" | "headers" | "body">, status: number, location: string) {
  const to = URL.parse(location, hop.url);
  if (to === null)
    throw failed(hop.url, `it redirects to ${JSON.stringify(beginning(location, 200))}, which is no URL`);
  const url = resolveUrl(to.href).name;
  const sameOrigin = new URL(url).origin === new URL(hop.url).origin;
  const headers = sameOrigin ? hop.headers : {};
  const keeps = status === 307 || status === 308 || hop.method === "GET" || hop.method === "HEAD";
  if (keeps && hop.body !== undefined && !sameOrigin)
    throw failed(hop.url, `it redirects to ${url}, and the request's body is not sent to another origin`);
  return keeps ? { ...hop, url, headers } : { method: "GET", url, headers, body: undefined };
}

function headersOf({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : (value ?? "")]),
  );
}

const causes: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was cut",
  EHOSTUNREACH: "there is no way to the host",
  ENETUNREACH: "there is no way to its network",
  ETIMEDOUT: "the host does not answer",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is signed by itself",
  CERT_HAS_EXPIRED: "its certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is by an authority that is not trusted",
  HPE_HEADER_OVERFLOW: "the head of its answer is too large",
};

/** A network error as one that names the URL. */
function told(error: unknown, url: string): unknown {
  const code = errnoOf(error) ?? (error instanceof AggregateError ? errnoOf(error.errors[0]) : undefined);
  if (error instanceof AiosError || code === undefined) return error;
  return failed(url, causes[code] === undefined ? code : `${causes[code]} (${code})`, error);
}

function failed(url: string, reason: string, cause?: unknown): AiosError {
  return new AiosError("FAILED_PRECONDITION", { act: "request", object: url, reason }, { cause });
}
