import { Agent, request } from "node:http";
import { timeoutSignal } from "#lib/clock";
import { messageOf } from "#lib/errors";
import { beginning } from "#lib/text";

/*
 * Chroma's API v2, as far as aios-memory uses it, over node:http. The chromadb client is not used: it loads 400 kB of
 * JavaScript at start, and global fetch loads undici; node:http is in the process already, for gRPC.
 */
const requestTimeoutMs = 10_000;
const heartbeatTimeoutMs = 5_000;
const answerBytesMax = 16 * 1024 * 1024;

const database = "/api/v2/tenants/default_tenant/databases/default_database";

/** Where a Chroma server is: "http://127.0.0.1:8000", without a trailing slash. */
export type ChromaUrl = string;

/** Throws when nothing healthy answers there. */
export async function heartbeat(url: ChromaUrl, timeoutMs = heartbeatTimeoutMs): Promise<void> {
  await call(url, "GET", "/api/v2/heartbeat", undefined, timeoutMs);
}

/** Stores a vector with `marker`, which must be new, and finds it again. Throws when the server does not do that. */
export async function proveSearch(url: ChromaUrl, marker: string): Promise<void> {
  const { id } = (await call(url, "POST", `${database}/collections`, {
    name: "aios-proof",
    get_or_create: true,
    configuration: { embedding_function: null },
  })) as { id: string };
  const vector = [1, 0, 0, 0, 0, 0, 0, 1];
  await call(url, "POST", `${database}/collections/${id}/upsert`, {
    ids: ["proof"],
    embeddings: [vector],
    documents: [marker],
  });
  const found = (await call(url, "POST", `${database}/collections/${id}/query`, {
    query_embeddings: [vector],
    n_results: 1,
    include: ["documents", "distances"],
  })) as { documents?: (string | null)[][] };
  const document = found.documents?.[0]?.[0];
  if (document !== marker) throw new Error(`a stored vector was not found again (got ${JSON.stringify(document)})`);
}

type Method = "GET" | "POST" | "PUT" | "DELETE";

/** A request on the server's database: `path` begins with "/collections". */
export async function onDatabase(
  url: ChromaUrl,
  method: Method,
  path: string,
  body?: unknown,
  timeoutMs = requestTimeoutMs,
): Promise<unknown> {
  return await call(url, method, database + path, body, timeoutMs);
}

/** The server answered, and refused. */
export class ChromaRefusal extends Error {
  override readonly name = "ChromaRefusal";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** One request with JSON in and out. Throws with the status and the server's words when it is refused. */
async function call(
  url: ChromaUrl,
  method: Method,
  path: string,
  body?: unknown,
  timeoutMs = requestTimeoutMs,
): Promise<unknown> {
  const { status, text } = await send(url, method, path, body === undefined ? "" : JSON.stringify(body), timeoutMs);
  if (status < 200 || status > 299)
    throw new ChromaRefusal(status, `${method} ${path}: status ${status}: ${beginning(text, 200)}`);
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch (error) {
    throw new Error(`${method} ${path}: the answer is not JSON: ${messageOf(error)}`);
  }
}

/** Connections unused for this long are closed here, before the server does it. */
const idleMs = 2_000;
const connectionsMax = 8;
const plain = new Agent({ keepAlive: true, timeout: idleMs, maxSockets: connectionsMax });

/** node:https is loaded only where a server elsewhere asks for it. */
async function transport(url: ChromaUrl) {
  if (!url.startsWith("https:")) return { agent: plain, open: request };
  const { globalAgent, request: open } = await import("node:https");
  return { agent: globalAgent, open };
}

async function send(
  url: ChromaUrl,
  method: string,
  path: string,
  body: string,
  timeoutMs: number,
): Promise<{ status: number; text: string }> {
  const { agent, open } = await transport(url);
  return await new Promise((resolve, reject) => {
    const headers =
      body === "" ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const signal = timeoutSignal(timeoutMs);
    const outgoing = open(new URL(path, url), { method, headers, signal, agent }, async (answer) => {
      try {
        const chunks: Buffer[] = [];
        let length = 0;
        for await (const chunk of answer as AsyncIterable<Buffer>) {
          length += chunk.length;
          if (length > answerBytesMax) throw new Error(`${method} ${path}: more than ${answerBytesMax} bytes`);
          chunks.push(chunk);
        }
        resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") });
      } catch (error) {
        reject(error);
      }
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}
