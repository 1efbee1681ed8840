import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ContextRequest, KnowledgeEntry, SemanticSearchRequest } from "#proto/aios/memory";
import { type MemoryDaemon, startMemory, storesIn } from "../../memory-daemon.ts";
import type { Measure } from "../row.ts";
import { processorMs, quantile, repeat, residentMb } from "../timing.ts";
import { corpusOf } from "./memory-corpus.ts";
import type { MemoryBenchHost, Part } from "./part.ts";

const sizes = [1_000, 10_000, 100_000] as const;
/** The size at which the budgets hold. */
const budgetSize = 100_000;
const searchP50BudgetMs = 20;
const searchP99BudgetMs = 80;
const recallBudget = 0.95;
const contextBudgetMs = 50;

const queryCount = 200;
const contextCount = 100;
const inFlight = 64;
const startTimeoutMs = 30_000;

/** How well the image's knowledge is found, and how fast and completely a memory of some sizes is searched. */
export const searchPart: Part = async (host) => {
  const measures: Measure[] = [...(await qualityRows(host))];
  for (const size of sizes) measures.push(...(await measured(host, size)));
  return measures;
};

interface Quality {
  readonly hit1: number;
  readonly hit5: number;
  readonly mrr: number;
}

/** Asks the image's knowledge the questions of the repository. */
async function qualityRows({ repository, images }: MemoryBenchHost): Promise<Measure[]> {
  const shelf = join((await images()).rootTree, "usr/lib/aios/knowledge.db");
  const argv = ["daemons/memory/shelve/measure.ts", shelf];
  const measured = JSON.parse(execFileSync(process.execPath, argv, { cwd: repository, encoding: "utf8" })) as Record<
    string,
    Record<string, Quality>
  >;
  return Object.entries(measured).flatMap(([questions, rankings]) =>
    Object.entries(rankings).flatMap(([ranking, { hit1, hit5, mrr }]) => {
      const name = `quality.${questions === "all" ? "" : "held_out."}${ranking}`;
      return [
        { name: `${name}.hit_at_1`, value: hit1, unit: "share" as const },
        { name: `${name}.hit_at_5`, value: hit5, unit: "share" as const },
        { name: `${name}.mrr`, value: mrr, unit: "share" as const },
      ];
    }),
  );
}

async function measured(host: MemoryBenchHost, size: number): Promise<Measure[]> {
  const { program, folder, say } = host;
  const at = folder(`search-${size}`);
  const chroma = await startChroma(host, join(at, "vectors"));
  const daemon = await startMemory(program, at, chroma.url);
  try {
    const { entries, queries } = corpusOf(size, queryCount);
    const filled = await fill(daemon, entries);
    const rows = await askedRows(daemon, queries, size);
    const memory = [
      { name: `search.${size}.memory.resident`, value: residentMb(daemon.pid), unit: "MB" as const },
      { name: `search.${size}.chroma.resident`, value: residentMb(chroma.pid), unit: "MB" as const },
    ];
    await daemon.kill("SIGTERM");
    const alone = measureAlone(host, at, chroma.url, queries);
    const busyBefore = processorMs(chroma.pid);
    await delay(5_000);
    const idle = (processorMs(chroma.pid) - busyBefore) / 50;
    say(
      `bench: memory: ${size} entries: recall ${alone.recall.toFixed(3)}, vectors alone ${quantile(alone.bare, 0.5).toFixed(1)} ms`,
    );
    const budget = size === budgetSize ? { budget: recallBudget } : {};
    return [
      ...filled.map((row) => ({ ...row, name: `search.${size}.${row.name}` })),
      ...rows,
      { name: `search.${size}.bare_chroma.p50`, value: quantile(alone.bare, 0.5), unit: "ms" },
      { name: `search.${size}.bare_chroma.p99`, value: quantile(alone.bare, 0.99), unit: "ms" },
      { name: `search.${size}.recall_at_10`, value: alone.recall, unit: "share", ...budget },
      { name: `search.${size}.fused_recall_at_10`, value: alone.fusedRecall, unit: "share", ...budget },
      { name: `search.${size}.chroma.idle`, value: idle, unit: "percent" },
      ...memory,
    ];
  } finally {
    await daemon.kill("SIGTERM");
    chroma.end();
  }
}

/** Stores all entries, and waits until their vectors are there. */
async function fill({ memory, query }: MemoryDaemon, entries: readonly string[]): Promise<Measure[]> {
  const stored = await repeat(entries.length, inFlight, (at) =>
    memory.addKnowledge(
      KnowledgeEntry.fromPartial({ title: `Entry ${at}`, content: entries[at] ?? "", source: "bench" }),
    ),
  );
  const from = performance.now();
  for (let waiting = 1; waiting > 0; ) {
    await delay(250);
    const status = await query.searchStatus({});
    waiting = status.waiting;
    if (!status.vectorsReady && performance.now() - from > startTimeoutMs)
      throw new Error(`no vectors: ${status.detail}`);
  }
  const seconds = (performance.now() - from) / 1_000 + entries.length / stored.perSecond;
  return [
    { name: "add_knowledge.64_in_flight", value: stored.perSecond, unit: "per_s" },
    { name: "vectors.made", value: entries.length / seconds, unit: "per_s" },
  ];
}

async function askedRows(
  { memory, query }: MemoryDaemon,
  queries: readonly string[],
  size: number,
): Promise<Measure[]> {
  const ask = (at: number) =>
    query.search(SemanticSearchRequest.fromPartial({ query: queries[at % queries.length] ?? "", nResults: 10 }));
  const first = await ask(0);
  if (first.ranking !== "fused") throw new Error(`searches are not fused: ${first.note}`);
  await repeat(50, 1, ask);
  const searched = await repeat(queries.length, 1, (at) =>
    memory.semanticSearch(SemanticSearchRequest.fromPartial({ query: queries[at] ?? "", nResults: 10 })),
  );
  const assembled = await repeat(contextCount, 1, (at) =>
    memory.assembleContext(ContextRequest.fromPartial({ taskDescription: queries[at] ?? "", maxTokens: 4_000 })),
  );
  const budget = (ms: number) => (size === budgetSize ? { budget: ms } : {});
  const name = `search.${size}`;
  return [
    { name: `${name}.p50`, value: quantile(searched.times, 0.5), unit: "ms", ...budget(searchP50BudgetMs) },
    { name: `${name}.p99`, value: quantile(searched.times, 0.99), unit: "ms", ...budget(searchP99BudgetMs) },
    { name: `context.${size}.p50`, value: quantile(assembled.times, 0.5), unit: "ms", ...budget(contextBudgetMs) },
    { name: `context.${size}.p99`, value: quantile(assembled.times, 0.99), unit: "ms" },
  ];
}

interface Alone {
  readonly bare: readonly number[];
  readonly recall: number;
  readonly fusedRecall: number;
}

/** The vector server asked without the daemon, and what it found beside exact comparison. */
function measureAlone({ repository }: MemoryBenchHost, at: string, url: string, queries: readonly string[]): Alone {
  const file = join(at, "queries.json");
  writeFileSync(file, JSON.stringify(queries));
  const argv = ["daemons/memory/longterm/measure.ts", storesIn(at).longterm, url, file];
  return JSON.parse(execFileSync(process.execPath, argv, { cwd: repository, encoding: "utf8" })) as Alone;
}

/** The image's own Chroma, by the image's own Node and C library, on loopback. */
async function startChroma({ images }: MemoryBenchHost, folder: string) {
  const { rootTree: root } = await images();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const config = join(folder, "server.yaml");
  mkdirSync(join(folder, "data"), { recursive: true });
  const settings = [
    `port: ${port}`,
    'listen_address: "127.0.0.1"',
    `persist_path: ${JSON.stringify(join(folder, "data"))}`,
  ];
  writeFileSync(config, `${settings.join("\n")}\nallow_reset: false\n`);
  const loader = [`${root}/usr/lib64/ld-linux-x86-64.so.2`, "--library-path", `${root}/usr/lib/x86_64-linux-gnu`];
  const [command = "", ...words] = [
    ...loader,
    `${root}/usr/bin/node`,
    `${root}/usr/lib/aios/node_modules/chromadb/dist/cli.mjs`,
  ];
  const child = spawn(command, [...words, "run", config], { stdio: "ignore", env: { HOME: folder } });
  for (const until = performance.now() + startTimeoutMs; !(await answers(url)); await delay(50))
    if (performance.now() > until) throw new Error("Chroma does not answer");
  return { url, pid: child.pid ?? 0, end: () => void child.kill("SIGINT") };
}

function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const outgoing = request(`${url}/api/v2/heartbeat`, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    outgoing.on("error", () => resolve(false));
    outgoing.end();
  });
}

async function freePort(): Promise<number> {
  return await new Promise((resolve) => {
    const probe = createServer();
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
