/**
 * The SDKs are beside the gateway, not in it. Both are loaded by the first question that goes out, from files of their
 * own: 521 kB that no start reads, 165 kB in the image. Of Anthropic's only the client and one resource are taken: 126
 * kB instead of 437. Their own retries, time-outs and logs are off, and the fetch they are given reads a bounded answer
 * and follows no redirect: the key would go along.
 */
import { isIP } from "node:net";
import { callAfter } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { ProviderFault } from "./fault.ts";

/** The longest answer that is read, bytes. A stream takes some two hundred for each token. */
const answerSizeMaxBytes = 32 * 1024 * 1024;

/**
 * fetch as the SDKs are given it: an answer that is too long is given up, and a redirect is an error, since the key
 * would go along to wherever it leads.
 */
export async function boundedFetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  const body = typeof init?.body === "string" ? { body: withoutHalves(init.body) } : {};
  const response = await fetch(input, { ...init, ...body, redirect: "error" });
  if (response.body === null) return response;
  let read = 0;
  const limited = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        read += chunk.length;
        if (read <= answerSizeMaxBytes) controller.enqueue(chunk);
        else controller.error(new ProviderFault("large", `its answer is longer than ${answerSizeMaxBytes} bytes`));
      },
    }),
  );
  return new Response(limited, { status: response.status, statusText: response.statusText, headers: response.headers });
}

/** Halves of characters outside the BMP, as JSON.stringify writes them. */
const halves = /(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g;

/** JSON as providers take it: Anthropic refuses a request with half a character (link-assistant/hive-mind#1324, 2026-02-17). */
export const withoutHalves = (json: string) => json.replace(halves, "$1\ufffd");

/** Whether an address is this machine's own. Names are not looked up: only "localhost" is taken at its word. */
export function isLoopback(baseUrl: string): boolean {
  const host = new URL(baseUrl).hostname.replace(/^\[(.*)\]$/, "$1");
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/**
 * A signal that is aborted when the caller's is, when the provider has said nothing for `ms`, and when the caller has taken nothing
 * for as long: that is no fault of the provider's.
 */
export interface Patience {
  readonly signal: AbortSignal;
  /** Whether anything came. */
  readonly begun: boolean;
  /** Something came: waiting begins anew. */
  renew(): void;
  /** The caller has been given something, and is waited for until it is `taken`. */
  given(): void;
  taken(): void;
  end(): void;
}

export function patience(ms: number, caller: AbortSignal): Patience {
  const over = new AbortController();
  const silenceFault = () => new ProviderFault("slow", `it said nothing for ${ms / 1_000} s`);
  let callOff = () => {};
  const wait = (why: () => Error) => {
    callOff();
    callOff = callAfter(ms, () => over.abort(why()));
  };
  let begun = false;
  wait(silenceFault);
  return {
    signal: AbortSignal.any([caller, over.signal]),
    get begun() {
      return begun;
    },
    renew() {
      begun = true;
      wait(silenceFault);
    },
    given: () => wait(() => unreadError(ms)),
    taken: () => wait(silenceFault),
    end: () => callOff(),
  };
}

function unreadError(ms: number): AiosError {
  const reason = `the caller has read nothing for ${ms / 1_000} s`;
  return new AiosError("ABORTED", { act: "stream", object: "the answer", reason, next: "read, or ask for less" });
}
