import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import {
  ConfigChange,
  ContextRequest,
  Decision,
  GoalRecord,
  Incident,
  KnowledgeEntry,
  Procedure,
  SemanticSearchRequest,
} from "#proto/aios/memory";
import { awayRuntime, json, type OpenMemory, openMemory, start } from "../testing/harness.ts";
import type { RuntimeText } from "./runtime-text.ts";

let folder: string;
let opened: OpenMemory;
let memory: OpenMemory["memory"];
let query: OpenMemory["query"];

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-longterm-");
  await open();
});
afterEach(async () => {
  await opened.close();
  rmSync(folder, { recursive: true });
});

async function open(runtime: RuntimeText = awayRuntime): Promise<void> {
  opened = await openMemory(folder, new ManualClock(start), { runtime });
  ({ memory, query } = opened);
}
const ask = (text: string, more: Partial<SemanticSearchRequest> = {}) =>
  SemanticSearchRequest.fromPartial({ query: text, ...more });
const told = (bytes: Buffer) => JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;

/** One record of each collection, each about something of its own. */
async function storeSome(): Promise<void> {
  await memory.storeProcedure(
    Procedure.fromPartial({
      id: "p",
      name: "rotate-logs",
      description: "Compress old log files",
      tags: ["logs"],
      stepsJson: json([]),
    }),
  );
  await memory.storeIncident(
    Incident.fromPartial({
      id: "i",
      description: "The disk of the data partition filled up",
      rootCause: "core dumps",
      resolution: "removed them",
    }),
  );
  await memory.storeConfigChange(
    ConfigChange.fromPartial({
      id: "c",
      filePath: "/etc/aios/config.toml",
      reason: "slower heartbeat",
      content: "interval = 20",
    }),
  );
  await memory.storeDecision(
    Decision.fromPartial({
      id: "d",
      context: "which model plans",
      chosen: "tinyllama",
      reasoning: "it is already loaded",
    }),
  );
  await memory.addKnowledge(
    KnowledgeEntry.fromPartial({
      title: "Espresso",
      content: "Nine bars of pressure through fine coffee.",
      source: "learned",
      tags: ["kitchen"],
    }),
  );
}

describe("search", () => {
  it("finds a record of each collection by what it says, with its collection, metadata and relevance", async () => {
    await storeSome();
    for (const [text, collection, id] of [
      ["compress logs", "procedures", "p"],
      ["disk full of core dumps", "incidents", "i"],
      ["heartbeat interval config", "config_changes", "c"],
      ["model for planning", "decisions", "d"],
    ] as const) {
      const [best] = (await memory.semanticSearch(ask(text))).results;
      expect(best, text).toMatchObject({ collection, id });
      expect(best?.relevance).toBeGreaterThan(0.15);
      expect(best?.relevance).toBeLessThanOrEqual(1);
    }
    const [coffee] = (await memory.searchKnowledge(ask("coffee pressure"))).results;
    expect(coffee?.content).toContain("Nine bars");
    expect(told(coffee?.metadataJson ?? Buffer.of())).toMatchObject({
      title: "Espresso",
      source: "learned",
      tags: ["kitchen"],
    });
  });

  it("says that it had no vectors, and why", async () => {
    await storeSome();
    const answer = await query.search(ask("coffee"));
    expect(answer.ranking).toBe("text");
    expect(answer.note).toContain("vector server");
    expect(told(answer.results[0]?.metadataJson ?? Buffer.of())["ranking"]).toBe("text");
    expect(await query.searchStatus({})).toMatchObject({
      chunks: 5,
      waiting: 5,
      embedding: "lexical-3-384",
      shelfChunks: 0,
    });
  });

  it("keeps to the collections, the count and the least relevance asked for", async () => {
    await storeSome();
    const text = "log files disk config model coffee pressure";
    const all = (await memory.semanticSearch(ask(text))).results;
    expect(all.length).toBe(5);
    expect(all.map(({ relevance }) => relevance)).toEqual(
      all.map(({ relevance }) => relevance).toSorted((a, b) => b - a),
    );
    const some = (await memory.semanticSearch(ask(text, { collections: ["incidents", "decisions"] }))).results;
    expect(some.map(({ collection }) => collection).sort()).toEqual(["decisions", "incidents"]);
    expect((await memory.semanticSearch(ask(text, { nResults: 2 }))).results).toEqual(all.slice(0, 2));
    const least = all[2]?.relevance ?? 0;
    expect((await memory.semanticSearch(ask(text, { minRelevance: least }))).results).toEqual(all.slice(0, 3));
  });

  it("gives one result a record, its best piece, of a long text", async () => {
    const paragraph = (subject: string) => `${subject} ${"and other matters of the house. ".repeat(30)}`;
    const content = ["Boilers", "Gutters", "Chimneys", "Windows"].map(paragraph).join("\n\n");
    await memory.addKnowledge(KnowledgeEntry.fromPartial({ title: "House", content, source: "learned" }));
    const { results } = await memory.searchKnowledge(ask("chimneys"));
    expect(results.length).toBe(1);
    expect(results[0]?.content).toMatch(/^Chimneys/);
    expect(told(results[0]?.metadataJson ?? Buffer.of())["part"]).toBe(2);
  });

  it("forgets what a record said before it was stored again", async () => {
    const entry = { title: "Door", source: "learned" };
    await memory.addKnowledge(KnowledgeEntry.fromPartial({ ...entry, content: "The code is walrus." }));
    await memory.addKnowledge(KnowledgeEntry.fromPartial({ ...entry, content: "The code is heron." }));
    expect((await memory.searchKnowledge(ask("walrus"))).results).toEqual([]);
    expect((await memory.searchKnowledge(ask("heron"))).results.length).toBe(1);
  });

  it("has it all after a restart", async () => {
    await storeSome();
    await opened.close();
    await open();
    expect((await memory.searchKnowledge(ask("coffee"))).results.length).toBe(1);
  });

  it("takes every sign as a word or as nothing", async () => {
    await storeSome();
    for (const text of [
      '"',
      "a AND NOT (",
      "title:x*",
      "NEAR(",
      "-",
      "'); DROP TABLE chunks; --",
      "\u0000\u{1F600}",
      "^",
    ])
      await memory.semanticSearch(ask(text));
    expect((await memory.semanticSearch(ask('"espresso" OR'))).results[0]?.collection).toBe("knowledge");
  });

  it("refuses what makes no sense, by the field's name", async () => {
    const refused = async (field: string, call: Promise<unknown>) =>
      await expect(call).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining(field) });
    await refused("query", memory.semanticSearch(ask(" ")));
    await refused("query", memory.semanticSearch(ask("x".repeat(40_000))));
    await refused("collections", memory.semanticSearch(ask("x", { collections: ["secrets"] })));
    await refused("collections", memory.searchKnowledge(ask("x", { collections: ["incidents"] })));
    await refused("n_results", memory.semanticSearch(ask("x", { nResults: 101 })));
    await refused("min_relevance", memory.semanticSearch(ask("x", { minRelevance: 1.1 })));
    await refused("min_relevance", memory.semanticSearch(ask("x", { minRelevance: Number.NaN })));
    await refused("content", memory.addKnowledge(KnowledgeEntry.fromPartial({ title: "x" })));
    await refused("content", memory.addKnowledge(KnowledgeEntry.fromPartial({ content: "x".repeat(1_048_577) })));
    await refused(
      "tags",
      memory.addKnowledge(KnowledgeEntry.fromPartial({ content: "x", tags: Array(101).fill("t") })),
    );
    await refused(
      "memory_tiers",
      memory.assembleContext(ContextRequest.fromPartial({ taskDescription: "x", memoryTiers: ["dreams"] })),
    );
    await refused(
      "max_tokens",
      memory.assembleContext(ContextRequest.fromPartial({ taskDescription: "x", maxTokens: -1 })),
    );
    await refused("task_description", memory.assembleContext(ContextRequest.fromPartial({})));
  });
});

describe("a context", () => {
  const context = (more: Partial<ContextRequest>) =>
    query.gatherContext(ContextRequest.fromPartial({ taskDescription: "the disk is full of core dumps", ...more }));

  it("begins with the snapshot, and has of each tier what belongs to the task, with its source and relevance", async () => {
    await storeSome();
    await memory.storeGoal(GoalRecord.fromPartial({ id: "g", description: "free disk space", status: "in_progress" }));
    await memory.addKnowledge(
      KnowledgeEntry.fromPartial({ title: "Core dumps", content: "Core dumps are in /var/lib/cores." }),
    );
    const { pieces, totalTokens, estimated, note } = await context({});
    expect(pieces[0]).toMatchObject({ collection: "snapshot", chunk: { source: "operational", relevance: 1 } });
    const names = pieces.map(({ chunk, collection }) => `${chunk?.source} ${collection}`);
    expect(names).toEqual(expect.arrayContaining(["working goals", "longterm incidents", "knowledge knowledge"]));
    expect(totalTokens).toBe(pieces.reduce((sum, { chunk }) => sum + (chunk?.tokens ?? 0), 0));
    expect([estimated, note]).toEqual([true, expect.stringContaining("vector server")]);
    const plain = await memory.assembleContext(
      ContextRequest.fromPartial({ taskDescription: "the disk is full of core dumps" }),
    );
    // The first is the snapshot, which is of another moment.
    expect(plain.chunks.slice(1)).toEqual(pieces.slice(1).map(({ chunk }) => chunk));
  });

  it("has the asked tiers alone", async () => {
    await storeSome();
    const { pieces } = await context({ memoryTiers: ["longterm"] });
    expect(pieces.length).toBeGreaterThan(0);
    expect(pieces.every(({ chunk }) => chunk?.source === "longterm")).toBe(true);
  });

  it("is counted by the runtime's tokenizer, less what the chat format adds to each prompt", async () => {
    await opened.close();
    const chatFormat = 12;
    const words = (text: string) => text.split(/\s+/).length;
    await open({ ...awayRuntime, countTokens: async (prompt) => chatFormat + words(prompt) });
    await storeSome();
    const { pieces, estimated } = await context({});
    expect(estimated).toBe(false);
    for (const { chunk } of pieces) expect(chunk?.tokens).toBe(words(chunk?.content ?? ""));
  });
});

it("the longterm store's file holds it all", async () => {
  await storeSome();
  const rows = opened.stores.longterm.database.prepare("SELECT count(*) AS n FROM records").get();
  expect(rows).toEqual({ n: 5 });
  expect(opened.stores.longterm.path).toBe(join(folder, "memory/longterm.db"));
});
