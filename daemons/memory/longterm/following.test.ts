import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "#lib/clock";
import { openDatabase, type Sqlite } from "#lib/data/sqlite";
import { silentLog } from "#lib/log";
import { functions, longtermMigrations } from "../store/migrations/migrations.ts";
import { realChroma } from "../testing/real-chroma.ts";
import { superviseChroma, type Vectors, watchRemoteChroma } from "../vectors/chroma.ts";
import { spawnChroma } from "../vectors/chroma-process.ts";
import { type Archive, openArchive } from "./archive.ts";
import { type Embedding, lexicalEmbedding } from "./embedding.ts";
import { type Follower, followArchive } from "./follower.ts";
import { lexicalVector } from "./lexical.ts";
import type { Collection } from "./records.ts";
import { openSearch, type Search } from "./search.ts";

const fake = {
  command: [process.execPath],
  program: fileURLToPath(new URL("../testing/fake-chroma.ts", import.meta.url)),
};
const real = realChroma();
const servers = [["the stand-in", fake] as const, ...(real === undefined ? [] : [["Chroma itself", real] as const])];

/** Real time, but pauses pass in a twentieth of it. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 20, signal) };

const subjects = ["firewall", "backup", "kernel", "printer", "battery", "schedule", "certificate", "keyboard"];
const textOf = (at: number) =>
  `The ${subjects[at % subjects.length]} number ${at} was replaced by ${subjects[(at * 3 + 1) % 8]}.`;

describe.each(servers)("vectors in %s", (_, { command, program }) => {
  let folder: string;
  let children: ChildProcess[];
  let vectors: Vectors;
  let database: Sqlite;
  let archive: Archive;
  let follower: Follower;
  let search: Search;

  beforeEach(() => {
    folder = mkdtempSync("/tmp/aios-following-");
    children = [];
    openStore();
    vectors = superviseChroma({
      spawn: (configFile) => {
        const child = spawnChroma(program, folder, configFile, ([, ...words]) => [...command, ...words]);
        children.push(child);
        return child;
      },
      configFile: join(folder, "server.yaml"),
      dataFolder: join(folder, "data"),
      settled: async () => {},
      clock: hasty,
      log: silentLog,
      heartbeatTimeoutMs: 500,
    });
    openFollower();
  });
  afterEach(async () => {
    await follower.stop();
    await vectors.stop();
    database.close();
    rmSync(folder, { recursive: true });
  });

  function openStore(): void {
    database = openDatabase(join(folder, "longterm.db"), longtermMigrations, { functions });
    archive = openArchive({ database, write: async (_what, act) => database.transaction(act)() });
  }
  function openFollower(embedding: Embedding = lexicalEmbedding): void {
    follower = followArchive({ archive, vectors, embedding, clock: hasty, log: silentLog });
    search = openSearch({ archive, shelf: undefined, follower, clock: hasty, log: silentLog });
  }
  const put = (at: number, collection: Collection = "knowledge", body = textOf(at)) =>
    archive.put({ collection, id: `k${at}`, title: "", body, metadata: {}, storedAt: 1 });
  const find = (text: string, among: Collection[] = []) =>
    search({ text, among, count: 3, relevanceMin: 0, only: "vectors" });
  async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await condition())) await systemClock.sleep(10);
  }
  const settled = () =>
    until(() => follower.vectors() !== undefined && follower.waiting() === 0 && archive.gone(1).length === 0);
  /** What the server itself has, asked past everything of ours. */
  async function counted(collection: Collection = "knowledge"): Promise<number> {
    return (await follower.vectors()?.collections.get(collection)?.count()) ?? -1;
  }

  it("has what was stored before and after it came up, by collection", async () => {
    for (let at = 0; at < 40; at++) await put(at, at % 2 === 0 ? "knowledge" : "incidents");
    await settled();
    await put(40);
    await settled();
    expect([await counted("knowledge"), await counted("incidents")]).toEqual([21, 20]);
    const { hits, ranking, note } = await find(textOf(40));
    expect(hits[0]).toMatchObject({ id: "k40", collection: "knowledge", relevance: expect.closeTo(1, 2) });
    expect([ranking, note]).toEqual(["fused", ""]);
    const elsewhere = await find(textOf(40), ["incidents"]);
    expect(elsewhere.hits.every(({ collection }) => collection === "incidents")).toBe(true);
  });

  it("loses what is removed or rewritten, and nothing else", async () => {
    for (let at = 0; at < 5; at++) await put(at);
    await settled();
    await archive.remove("knowledge", "k1");
    await put(2, "knowledge", "A completely different sentence about penguins.");
    await settled();
    expect(await counted()).toBe(4);
    expect((await find(textOf(1))).hits.map(({ id }) => id)).not.toContain("k1");
    expect((await find("penguins")).hits[0]?.id).toBe("k2");
  });

  it("is there again after SIGKILL, with everything", async () => {
    for (let at = 0; at < 30; at++) await put(at);
    await settled();
    children[0]?.kill("SIGKILL");
    await until(() => !vectors.status().ready);
    const blind = await search({ text: textOf(7), among: [], count: 1, relevanceMin: 0 });
    expect(blind).toMatchObject({ ranking: "text", note: expect.stringContaining("vector server") });
    expect(blind.hits[0]?.id).toBe("k7");
    await put(30);
    await settled();
    expect(await counted()).toBe(31);
    expect((await find(textOf(30))).hits[0]?.id).toBe("k30");
  });

  it("is made again when its folder is gone, also while it runs", async () => {
    for (let at = 0; at < 30; at++) await put(at);
    await settled();
    rmSync(join(folder, "data"), { recursive: true });
    vectors.suspect();
    await until(() => children.length >= 2 && existsSync(join(folder, "data")));
    await settled();
    expect(await counted()).toBe(30);
    expect((await find(textOf(9))).hits[0]?.id).toBe("k9");
  });

  it("is made again when it is found at an older state", async () => {
    await put(0);
    await settled();
    const state = archive.indexState();
    await put(1);
    await settled();
    await follower.stop();
    // As after a backup of the archive was put back: it knows an older mark, and its keys will be used for other texts.
    await archive.setIndexState(state);
    database.exec("DELETE FROM chunks WHERE id = 'k1'; DELETE FROM gone;");
    openFollower();
    await settled();
    expect(await counted()).toBe(1);
    expect(archive.indexState().mark).not.toBe(state.mark);
  });

  it("is made again when vectors are missing from it", async () => {
    for (let at = 0; at < 10; at++) await put(at);
    await settled();
    await follower.vectors()?.collections.get("knowledge")?.remove([1, 2, 3]);
    await follower.stop();
    openFollower();
    // The collection that is counted may just be made again.
    await until(async () => follower.vectors() !== undefined && (await counted().catch(() => -1)) === 10);
  });

  it("has the vectors of another embedding after a change, and only these", async () => {
    for (let at = 0; at < 10; at++) await put(at);
    await settled();
    const half: Embedding = {
      ...lexicalEmbedding,
      id: "half",
      dimension: 192,
      embed: async (texts) => texts.map((text) => lexicalVector(text).slice(0, 192)),
      embedNow: (text) => lexicalVector(text).slice(0, 192),
    };
    follower.use(half);
    await until(() => archive.indexState().embedding === "half");
    await settled();
    expect(await counted()).toBe(10);
    expect((await find(textOf(4))).hits[0]?.id).toBe("k4");
  });

  it("is used the same when it is a server elsewhere", async () => {
    await put(0);
    await settled();
    const url = vectors.status().url ?? "";
    await follower.stop();
    const remote = watchRemoteChroma(url, { settled: async () => {}, clock: hasty, log: silentLog });
    follower = followArchive({ archive, vectors: remote, embedding: lexicalEmbedding, clock: hasty, log: silentLog });
    search = openSearch({ archive, shelf: undefined, follower, clock: hasty, log: silentLog });
    await put(1);
    await until(() => follower.vectors() !== undefined && follower.waiting() === 0);
    expect((await find(textOf(1))).hits[0]?.id).toBe("k1");
    await remote.stop();
  });

  it("that hangs is not waited for, and is started again", async () => {
    for (let at = 0; at < 3; at++) await put(at);
    await settled();
    children[0]?.kill("SIGSTOP");
    const before = performance.now();
    const blind = await search({ text: textOf(2), among: [], count: 1, relevanceMin: 0 });
    expect(performance.now() - before).toBeLessThan(10_000);
    expect(blind).toMatchObject({ ranking: "text", hits: [{ id: "k2" }] });
    await until(() => children.length === 2);
    await settled();
    expect((await find(textOf(2))).hits[0]?.id).toBe("k2");
  });
});
