import type { Client } from "#lib/rpc/service";
import type { MemoryServiceService, Procedure as ProcedureRecord } from "#proto/aios/memory";
import type { MemoryQueryService } from "#proto/aios/memory_query";
import type { Learned, LearnedStore } from "./learned.ts";
import { learnedMax } from "./learning.ts";

/** Procedures in one answer of aios-memory. */
const pageSize = 200;

/** The part of a learned procedure that a record of aios-memory has no field for. */
type LearnedJson = Pick<Learned, "phrase" | "parameters" | "result" | "steps" | "goalId" | "origin">;

/** Learned procedures, as procedures of aios-memory. */
export function learnedOver(
  memory: Client<typeof MemoryServiceService>,
  query: Client<typeof MemoryQueryService>,
): LearnedStore {
  return {
    async list() {
      const learned: Learned[] = [];
      for (let cursor = ""; learned.length < learnedMax; ) {
        const page = await query.listProcedures({ limit: pageSize, cursor });
        learned.push(...page.procedures.flatMap(readLearned));
        cursor = page.nextCursor;
        if (cursor === "") break;
      }
      return learned.slice(0, learnedMax);
    },
    async put(learned) {
      await memory.storeProcedure(writeLearned(learned));
    },
  };
}

function writeLearned(learned: Learned): ProcedureRecord {
  const { id, name, phrase, parameters, result, steps, goalId, origin } = learned;
  const more: LearnedJson = { phrase, parameters, result, steps, goalId, origin };
  return {
    id,
    name,
    description: phrase,
    stepsJson: Buffer.from(JSON.stringify(more)),
    successCount: learned.successes,
    failCount: learned.failures,
    avgDurationMs: learned.averageMs,
    tags: ["learned"],
    createdAt: learned.createdAt,
    lastUsed: learned.lastUsed,
  };
}

/** A procedure that was learned here; none when the record is of another kind: the memory takes procedures from others, too. */
function readLearned(record: ProcedureRecord): Learned[] {
  if (!record.tags.includes("learned")) return [];
  const more = JSON.parse(record.stepsJson.toString("utf8")) as LearnedJson;
  if (typeof more.phrase !== "string" || !Array.isArray(more.steps)) return [];
  const { id, name, successCount: successes, failCount: failures, avgDurationMs: averageMs } = record;
  return [
    { ...more, id, name, successes, failures, averageMs, createdAt: record.createdAt, lastUsed: record.lastUsed },
  ];
}
