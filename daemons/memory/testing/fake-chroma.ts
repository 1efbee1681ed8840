/**
 * Stands where Chroma's program stands, for tests on hosts whose C library is too old for the real one: the same arguments,
 * configuration file and HTTP calls, with exact search over a map. What it is to do wrong is in `mode` in its data folder.
 */
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
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

interface Collection {
  readonly id: string;
  readonly name: string;
  metadata: Record<string, unknown> | null;
  readonly records: Map<string, Stored>;
}

/** Everything is written to one file after each change, and read from it at the start, as the real one keeps its data. */
const file = `${folder}/chroma.sqlite3`;
const collections = new Map<string, Collection>(load());

function load(): [string, Collection][] {
  try {
    const kept = JSON.parse(readFileSync(file, "utf8")) as (Omit<Collection, "records"> & {
      records: [string, Stored][];
    })[];
    return kept.map((one) => [one.id, { ...one, records: new Map(one.records) }]);
  } catch {
    return [];
  }
}

function save(): void {
  const all = [...collections.values()].map((one) => ({ ...one, records: [...one.records] }));
  writeFileSync(file, JSON.stringify(all));
}
save();

const distance = (a: readonly number[], b: readonly number[]) => {
  const sum = (x: readonly number[], y: readonly number[]) =>
    x.reduce((total, value, at) => total + value * (y[at] ?? 0), 0);
  return 1 - sum(a, b) / Math.sqrt(sum(a, a) * sum(b, b));
};

async function read(request: IncomingMessage) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text === "" ? {} : JSON.parse(text);
}

type Body = Readonly<Record<string, never>>;

/** Acts on one collection, by the last part of the path. */
const acts: Readonly<Record<string, (collection: Collection, body: Body) => unknown>> = {
  upsert({ records }, body) {
    const { ids, embeddings, documents } = body as unknown as {
      ids: string[];
      embeddings: number[][];
      documents?: string[];
    };
    if (mode() === "forgets") return {};
    ids.forEach((id, at) => {
      records.set(id, { vector: embeddings[at] ?? [], document: documents?.[at] ?? "" });
    });
    return {};
  },
  query({ records }, body) {
    const { query_embeddings: queries, n_results: most } = body as unknown as {
      query_embeddings: number[][];
      n_results: number;
    };
    const nearest = queries.map((query) =>
      [...records]
        .map(([id, { vector, document }]) => ({ id, document, distance: distance(vector, query) }))
        .toSorted((a, b) => a.distance - b.distance)
        .slice(0, most),
    );
    const column = <K extends "id" | "document" | "distance">(name: K) =>
      nearest.map((row) => row.map((one) => one[name]));
    return { ids: column("id"), documents: column("document"), distances: column("distance") };
  },
  delete({ records }, body) {
    for (const id of (body as unknown as { ids: string[] }).ids) records.delete(id);
    return {};
  },
  count: ({ records }) => records.size,
};

function answer(method: string, path: string, body: Body): unknown {
  if (path.endsWith("/heartbeat")) return { "nanosecond heartbeat": 1 };
  const [, name = "", act] = /\/collections(?:\/([^/?]+))?(?:\/([a-z]+))?(?:\?.*)?$/.exec(path) ?? [];
  const byName = [...collections.values()].find((one) => one.name === name);
  if (name === "") return method === "GET" ? [...collections.values()].map(described) : described(opened(body));
  if (method === "DELETE") return byName !== undefined && collections.delete(byName.id) ? {} : undefined;
  const collection = collections.get(name);
  if (collection === undefined) return undefined;
  if (method !== "PUT") return acts[act ?? ""]?.(collection, body);
  collection.metadata = body["new_metadata"] ?? null;
  return {};
}

function opened(body: Body): Collection {
  const { name } = body as unknown as { name: string };
  const found = [...collections.values()].find((one) => one.name === name);
  const collection = found ?? { id: randomUUID(), name, metadata: null, records: new Map() };
  collections.set(collection.id, collection);
  return collection;
}

const described = ({ id, name, metadata }: Collection) => ({ id, name, metadata });

createServer(async (request, response) => {
  const method = request.method ?? "";
  const found = answer(method, request.url ?? "", await read(request));
  if (mode() === "hangs") return;
  if (method !== "GET" && !/\/query$/.test(request.url ?? "")) save();
  response.writeHead(found === undefined ? 404 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify(found ?? { error: "NotFound" }));
}).listen(port, "127.0.0.1");
