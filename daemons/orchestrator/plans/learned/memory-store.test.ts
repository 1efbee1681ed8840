import { mkdtempSync, rmSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AiosError } from "#lib/errors";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, service } from "#lib/rpc/service";
import { type Decision, MemoryServiceService, Procedure } from "#proto/aios/memory";
import { MemoryQueryService } from "#proto/aios/memory_query";
import type { LoggedDecision } from "../decisions.ts";
import { contextOver, decisionStore } from "../memory-store.ts";
import type { Learned } from "./learned.ts";
import { learnedOver } from "./memory-store.ts";

let folder: string;
let kept: Procedure[];
let decisions: Decision[];
let answers: boolean;
let close: () => void;
let memory: ReturnType<typeof connect<typeof MemoryServiceService>>;
let query: ReturnType<typeof connect<typeof MemoryQueryService>>;

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-lore-");
  [kept, decisions, answers] = [[], [], true];
  const path = `${folder}/memory.sock`;
  const services = [
    service(MemoryServiceService, {
      storeProcedure: (procedure) => {
        kept.push(procedure);
        return {};
      },
      storeDecision: (decision) => {
        decisions.push(decision);
        return {};
      },
      assembleContext: ({ taskDescription }) => {
        if (!answers) throw new AiosError("UNAVAILABLE", "away");
        const chunks = ["one", taskDescription].map((content) => ({
          source: "longterm",
          content,
          relevance: 1,
          tokens: 1,
        }));
        return { chunks, totalTokens: 2 };
      },
    }),
    service(MemoryQueryService, {
      listProcedures: ({ limit, cursor }) => {
        const from = Number(cursor || 0);
        const next = from + Math.min(limit, 2);
        return { procedures: kept.slice(from, next), nextCursor: next < kept.length ? String(next) : "" };
      },
    }),
  ];
  const server = createServer(services, () => coreIdentity("orchestrator"), silentLog);
  await listen(server, { path, identity: coreIdentity("orchestrator"), mode: 0o600 });
  [memory, query] = [connect(MemoryServiceService, `unix:${path}`), connect(MemoryQueryService, `unix:${path}`)];
  close = () => server.forceShutdown();
});
afterEach(() => {
  memory.close();
  query.close();
  close();
  rmSync(folder, { recursive: true });
});

const learned = (id: string): Learned => ({
  ...{ id, name: "proxy", phrase: "proxy port {number}", parameters: { number: "number" }, result: "Port {number}." },
  steps: [
    {
      ...{
        name: "look",
        description: "d",
        tool: "net.check_port",
        agent: "network",
        needs: [],
        expect: { open: true },
      },
      ...{ input: { host: "127.0.0.1", port: "{number}" }, also: ["net:local:127.0.0.1"] },
    },
  ],
  ...{ goalId: "g", origin: "gateway claude (c)", successes: 3, failures: 1, averageMs: 120 },
  ...{ createdAt: 1_700_000_000_000, lastUsed: 1_700_000_000_005 },
});

it("what was learned comes back as it was, from all pages, and nothing else with it", async () => {
  const store = learnedOver(memory, query);
  for (const id of ["a", "b"]) await store.put(learned(id));
  kept.push(Procedure.fromPartial({ id: "x", name: "somebody's", stepsJson: Buffer.from("[]"), tags: ["manual"] }));
  await store.put(learned("c"));
  expect(await store.list()).toEqual(["a", "b", "c"].map(learned));
  expect(kept[0]).toMatchObject({ description: "proxy port {number}", successCount: 3, failCount: 1 });
});

it("a decision has what was chosen between what, why, by whom, and what came of it", async () => {
  const options = [{ source: "procedures", level: "reactive", verdict: "no procedure covers this goal" }] as const;
  const decision: LoggedDecision = {
    ...{
      id: "decision-1",
      goalId: "g",
      description: "make a proxy",
      at: 1_700_000_000_000,
      situation: "a plan is wanted",
    },
    ...{ options, chosen: "gateway claude (c)", why: "it is short", level: "strategic", model: "c", procedure: "" },
    outcome: "completed",
  };
  await decisionStore(memory)(decision);
  const [{ optionsJson, ...stored } = { optionsJson: Buffer.alloc(0) }] = decisions;
  expect(JSON.parse(optionsJson.toString())).toEqual(options);
  expect(stored).toEqual({
    ...{ id: "decision-1", context: "goal g: make a proxy: a plan is wanted", chosen: "gateway claude (c)" },
    ...{ reasoning: "it is short", intelligenceLevel: "strategic", modelUsed: "c", outcome: "completed" },
    timestamp: 1_700_000_000_000,
  });
});

it("the memory's context is one text, and none when the memory does not answer", async () => {
  const context = contextOver(memory);
  const signal = new AbortController().signal;
  expect(await context("a proxy", 100, signal)).toBe("one\n---\na proxy");
  answers = false;
  expect(await context("a proxy", 100, signal)).toBe("");
});
