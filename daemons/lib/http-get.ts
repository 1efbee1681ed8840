import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import tls from "node:tls";
import type { Clock } from "./clock.ts";
import { AiosError, messageOf } from "./errors.ts";

/** A server that may answer a later try: it could not be reached, stalled, or said so. */
export class RetryLater extends Error {
  override readonly name = "RetryLater";
  /** The wait that the server asked for; 0 = it asked for none. */
  readonly retryAfterMs: number;
  /** The bytes that came belong to another file: the later try starts at the first byte. */
  readonly fromStart: boolean;

  constructor(message: string, { retryAfterMs = 0, fromStart = false } = {}) {
    super(message);
    this.retryAfterMs = retryAfterMs;
    this.fromStart = fromStart;
  }
}

interface GetOptions {
  /** The first byte wanted. */
  readonly from: number;
  /** Of the file that `from` belongs to; empty = not known. */
  readonly etag: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A server's file from some byte on. */
export interface Answer {
  /** The first byte that comes: what was asked for, or 0 from a server that does not do parts. */
  readonly from: number;
  /** Of the whole file; 0 = the server does not say. */
  readonly totalBytes: number;
  readonly etag: string;
  readonly lastModified: string;
  /** The bytes as they come. RetryLater when fewer than `leastBytes` come in `windowMs`, or the connection breaks. */
  chunks(stall: { readonly windowMs: number; readonly leastBytes: number }): AsyncIterable<Buffer>;
  close(): void;
}

const redirectsMax = 5;

/** From the request to the head of the answer. */
const answerTimeoutMs = 30_000;

/** A server that asks for a longer pause gets this. */
const retryAfterMaxMs = 60_000;

/**
 * Asks for a file from a byte on, following redirects (never from https to http). RetryLater when the server cannot be had
 * now; FAILED_PRECONDITION when it refuses; NOT_FOUND when it has no such file.
 */
export async function openAddress(url: string, options: GetOptions): Promise<Answer> {
  let address = new URL(url);
  for (let redirects = 0; ; redirects++) {
    const response = await request(address, options);
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (status < 300 || status >= 400 || location === undefined) return answer(url, response, options);
    response.destroy();
    if (redirects === redirectsMax) throw refusal(url, `it redirects more than ${redirectsMax} times`);
    address = redirect(url, address, location);
  }
}

function redirect(url: string, from: URL, location: string): URL {
  if (!URL.canParse(location, from)) throw refusal(url, "it redirects to what is no address");
  const to = new URL(location, from);
  if (to.protocol !== "https:" && to.protocol !== from.protocol) {
    throw refusal(url, `it redirects from ${from.protocol} to ${to.protocol}`);
  }
  return to;
}

async function request(address: URL, { from, etag, signal, clock }: GetOptions): Promise<IncomingMessage> {
  const strong = etag !== "" && !etag.startsWith("W/");
  const headers = {
    "user-agent": "aiOS",
    "accept-encoding": "identity",
    ...(from > 0 && { range: `bytes=${from}-` }),
    ...(from > 0 && strong && { "if-range": etag }),
  };
  const late = new AbortController();
  const timer = new AbortController();
  clock.sleep(answerTimeoutMs, timer.signal).then(
    () => late.abort(new RetryLater(`no answer within ${answerTimeoutMs / 1000} s`)),
    () => {},
  );
  const either = AbortSignal.any([signal, late.signal]);
  try {
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const secure = address.protocol === "https:";
      const get = secure ? https.get : http.get;
      // `agent: false`: one connection for one file, which ends with it.
      const options = { headers, agent: false, signal: either, ...(secure && { ca: authorities() }) };
      get(address, options, resolve).once("error", reject);
    });
  } catch (error) {
    signal.throwIfAborted();
    throw late.signal.aborted ? late.signal.reason : new RetryLater(messageOf(error));
  } finally {
    timer.abort();
  }
}

/** The authorities that Node brings and those that this machine trusts. */
function authorities(): string[] {
  return [...tls.getCACertificates("bundled"), ...tls.getCACertificates("system")];
}

function answer(url: string, response: IncomingMessage, { clock, signal }: GetOptions): Answer {
  const { statusCode: status = 0, headers } = response;
  const fail = (error: Error) => {
    response.destroy();
    return error;
  };
  if (status === 429 || status === 408 || status >= 500) {
    throw fail(new RetryLater(`the server answers ${status}`, { retryAfterMs: retryAfter(headers["retry-after"]) }));
  }
  if (status === 416) {
    throw fail(new RetryLater("the server's file is shorter than what came of it before", { fromStart: true }));
  }
  if (status === 404 || status === 410) throw fail(missing(url, status));
  if (status !== 200 && status !== 206) throw fail(refusal(url, `the server answers ${status}`));
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") throw fail(refusal(url, `the server sends it as ${encoding}`));
  const part = status === 206 ? /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers["content-range"] ?? "") : null;
  if (status === 206 && part === null) throw fail(refusal(url, "the server sends a part without saying which"));
  const total = part === null ? headers["content-length"] : part[2];
  return {
    from: part === null ? 0 : Number(part[1]),
    totalBytes: total === undefined || total === "*" ? 0 : Number(total),
    etag: headers.etag ?? "",
    lastModified: headers["last-modified"] ?? "",
    chunks: (stall) => receive(response, stall, clock, signal),
    close: () => response.destroy(),
  };
}

async function* receive(
  response: IncomingMessage,
  { windowMs, leastBytes }: { windowMs: number; leastBytes: number },
  clock: Clock,
  signal: AbortSignal,
): AsyncIterable<Buffer> {
  const over = new AbortController();
  let came = 0;
  let writing = false;
  const watch = async () => {
    for (;;) {
      await clock.sleep(windowMs, over.signal);
      // While the reader is busy, its disk being slower, nothing is asked of the server.
      if (came < leastBytes && !writing) {
        response.destroy(new Error(`${came} bytes in ${windowMs} ms: the server has stalled`));
      }
      came = 0;
    }
  };
  watch().catch(() => {});
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      came += chunk.length;
      writing = true;
      yield chunk;
      writing = false;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw new RetryLater(messageOf(error));
  } finally {
    over.abort();
  }
}

function retryAfter(header: string | undefined): number {
  const seconds = Number(header);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, retryAfterMaxMs) : 0;
}

function refusal(url: string, reason: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", { act: "download", object: url, reason, next: "correct the address" });
}

function missing(url: string, status: number): AiosError {
  return new AiosError("NOT_FOUND", {
    act: "download",
    object: url,
    reason: `the server answers ${status}`,
    next: "correct the address",
  });
}
