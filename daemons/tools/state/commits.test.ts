import { mkdtempSync, rmSync } from "node:fs";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openDatabase, type Sqlite } from "#lib/data/sqlite";
import { type Commits, openCommits } from "./commits.ts";

/** The disk: answers when it is told to. */
const disk = vi.hoisted(() => ({ answers: [] as ((error: Error | null) => void)[] }));

vi.mock("node:fs", async (importOriginal) => ({
  ...(await importOriginal<typeof import("node:fs")>()),
  fdatasync: (_: number, answer: (error: Error | null) => void) => void disk.answers.push(answer),
}));

let folder: string;
let database: Sqlite;
let commits: Commits;
let events: string[];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-commits-");
  database = openDatabase(`${folder}/x.db`, ["CREATE TABLE t (n INTEGER UNIQUE) STRICT"]);
  events = [];
  commits = openCommits(database, {
    begin: () => void events.push("begin"),
    end: () => void events.push("end"),
    made: () => void events.push("made"),
    failed: () => void events.push("failed"),
  });
  disk.answers = [];
});

afterEach(() => {
  commits.close();
  rmSync(folder, { recursive: true });
});

const turns = async () => {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};
const insert = (n: number) => commits.add(() => database.prepare("INSERT INTO t VALUES (?)").run(n).changes);
const rows = () => database.prepare("SELECT n FROM t ORDER BY n").pluck().all();

it("tells of a write when the disk has it, and gathers meanwhile what comes", async () => {
  const told: number[] = [];
  const add = (n: number) => insert(n).then(() => told.push(n));
  const first = [add(1), add(2)];
  await turns();
  expect(events).toEqual(["begin", "end", "made"]);
  const second = [add(3), add(4), add(5)];
  await turns();
  expect(disk.answers).toHaveLength(1);
  expect(told).toEqual([]);
  disk.answers[0]?.(null);
  await Promise.all(first);
  await turns();
  expect(told).toEqual([1, 2]);
  expect(disk.answers).toHaveLength(2);
  disk.answers[1]?.(null);
  await Promise.all(second);
  expect(told).toEqual([1, 2, 3, 4, 5]);
});

it("says of every write of a commit that fails that it failed, and goes on", async () => {
  const both = Promise.allSettled([insert(1), insert(1)]);
  expect((await both).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(events).toEqual(["begin", "failed"]);
  expect(rows()).toEqual([]);
  const next = insert(2);
  await turns();
  disk.answers[0]?.(null);
  expect(await next).toBe(1);
});

it("does not call a write done that the disk did not take", async () => {
  const lost = insert(1);
  await turns();
  disk.answers[0]?.(new Error("EIO"));
  await expect(lost).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", message: expect.stringContaining("EIO") });
});

it("refuses more than 4,096 writes that wait", async () => {
  const many = Array.from({ length: 4_097 }, (_, n) => insert(n));
  await expect(many.at(-1)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  await turns();
  disk.answers[0]?.(null);
  expect(await Promise.all(many.slice(0, -1))).toHaveLength(4_096);
});

it("writes what waits when it is closed", async () => {
  const last = insert(7);
  commits.close();
  expect(await last).toBe(1);
  database = openDatabase(`${folder}/x.db`, [""]);
  commits = openCommits(database);
  expect(rows()).toEqual([7]);
});
