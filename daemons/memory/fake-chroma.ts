/**
 * Stands where Chroma's program stands, for tests on hosts whose C library is too old for the real one: the same arguments,
 * configuration file and HTTP calls, with exact search over a map. What it is to do wrong is in `mode` in its data folder.
 */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";

interface Stored {
  readonly vector: readonly number[];
  readonly document: string;
}

const config = readFileSync(process.argv[3] ?? "", "utf8");
const port = Number(/^port: (\d+)$/m.exec(config)?.[1]);
const folder = JSON.parse(/^persist_path: (.*)$/m.exec(config)?.[1] ?? "") as string;
const mode = () => {
  try {
    return readFileSync(`${folder}/mode`, "utf8").trim();
  } catch {
    return "";
  }
};
if (mode() === "dies") {
  process.stderr.write("cannot open the data folder\n");
  process.exit(3);
}
if (mode() === "deaf to SIGINT") process.on("SIGINT", () => {});

const records = new Map<string, Stored>();
const distance = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, value, at) => sum + (value - (b[at] ?? 0)) ** 2, 0);

async function read(request: IncomingMessage) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text === "" ? {} : JSON.parse(text);
}

function answer(path: string, body: unknown): unknown {
  if (path.endsWith("/heartbeat")) return { "nanosecond heartbeat": 1 };
  if (path.endsWith("/collections")) return { id: "c1" };
  if (path.endsWith("/c1/upsert")) {
    const { ids, embeddings, documents } = body as { ids: string[]; embeddings: number[][]; documents: string[] };
    if (mode() === "forgets") return {};
    ids.forEach((id, at) => {
      records.set(id, { vector: embeddings[at] ?? [], document: documents[at] ?? "" });
    });
    return {};
  }
  if (path.endsWith("/c1/query")) {
    const { query_embeddings: queries, n_results: most } = body as { query_embeddings: number[][]; n_results: number };
    const nearest = (query: number[]) =>
      [...records.values()].toSorted((a, b) => distance(a.vector, query) - distance(b.vector, query)).slice(0, most);
    return { documents: queries.map((query) => nearest(query).map(({ document }) => document)) };
  }
  return undefined;
}

createServer(async (request, response) => {
  const found = answer(request.url ?? "", await read(request));
  response.writeHead(found === undefined ? 404 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify(found ?? { error: "NotFound" }));
}).listen(port, "127.0.0.1");
