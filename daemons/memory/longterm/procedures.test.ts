import { mkdtempSync, rmSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Procedure } from "#proto/aios/memory";
import { json, type OpenMemory, openMemory, start } from "../testing/harness.ts";

let folder: string;
let opened: OpenMemory;

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-procedures-");
  opened = await openMemory(folder);
});
afterEach(async () => {
  await opened.close();
  rmSync(folder, { recursive: true });
});

const procedure = (id: string, lastUsed: number, successCount = 1) =>
  Procedure.fromPartial({
    ...{ id, name: `how ${id}`, description: `do ${id}`, stepsJson: json({ steps: [id] }), successCount },
    ...{ failCount: 2, avgDurationMs: 30, tags: ["learned", id], createdAt: start, lastUsed },
  });

it("procedures are listed by pages as they were stored last, also after a restart", async () => {
  for (const [at, id] of ["a", "b", "c"].entries()) await opened.memory.storeProcedure(procedure(id, start + at));
  await opened.memory.storeProcedure(procedure("a", start + 10, 7));
  await opened.close();
  opened = await openMemory(folder);
  const first = await opened.query.listProcedures({ limit: 2, cursor: "" });
  expect(first.procedures).toEqual([procedure("a", start + 10, 7), procedure("c", start + 2)]);
  const second = await opened.query.listProcedures({ limit: 2, cursor: first.nextCursor });
  expect(second).toEqual({ procedures: [procedure("b", start + 1)], nextCursor: "" });
  await expect(opened.query.listProcedures({ limit: 501, cursor: "" })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});
