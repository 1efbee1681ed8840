import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { KnowledgeEntry, SemanticSearchRequest } from "#proto/aios/memory";
import { lexicalEmbedding } from "../longterm/embedding.ts";
import { openShelf, type Shelf } from "../longterm/shelf.ts";
import { openMemory, start } from "../testing/harness.ts";
import { qualityOf, questionsIn } from "./quality.ts";

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const node = (...argv: string[]) =>
  execFileSync(
    process.execPath,
    argv.map((word, at) => (at === 0 ? join(repository, word) : word)),
    { encoding: "utf8" },
  );

let folder: string;
let shelf: Shelf;

/** As the image's build does it. */
function build(file: string): string {
  const [tools, commands] = [join(folder, "tools.json"), join(folder, "commands.json")];
  writeFileSync(tools, node("daemons/tools/reference.ts"));
  writeFileSync(commands, node("daemons/ctl/reference.ts"));
  return node("daemons/memory/shelve/main.ts", file, join(repository, "rootfs"), tools, commands);
}

beforeAll(() => {
  folder = mkdtempSync("/tmp/aios-shelf-");
  build(join(folder, "knowledge.db"));
  shelf = openShelf(join(folder, "knowledge.db")) as Shelf;
});
afterAll(() => {
  shelf.close();
  rmSync(folder, { recursive: true });
});

describe("the image's own knowledge", () => {
  it("is found: both rankings together answer more questions than either alone", async () => {
    const questions = questionsIn(fileURLToPath(new URL("questions.txt", import.meta.url)));
    expect(questions.length).toBeGreaterThanOrEqual(150);
    const { text, vectors, fused } = (await qualityOf(join(folder, "knowledge.db"), questions)).scores;
    expect(fused.mrr).toBeGreaterThan(Math.max(text.mrr, vectors.mrr, 0.6));
    expect(fused.hit5).toBeGreaterThan(0.75);
  });

  it("has the help, every tool, every command, the settings and the procedures", () => {
    const ids = new Set(shelf.all().map(({ collection, id }) => `${collection} ${id}`));
    for (const name of ["knowledge tool/fs.write", "knowledge command/goal-submit", "procedures image/disk-report"])
      expect(ids.has(name), name).toBe(true);
    expect([...ids].some((id) => id.startsWith("knowledge help/"))).toBe(true);
    expect([...ids].some((id) => id.startsWith("knowledge setting/etc/aios/config.toml#memory"))).toBe(true);
    expect(ids.size).toBeGreaterThan(250);
  });

  it("names no command that there is not", () => {
    const commands = JSON.parse(readFileSync(join(folder, "commands.json"), "utf8")) as { name: string }[];
    const names = new Set(commands.map(({ name }) => name));
    const first = new Set(commands.map(({ name }) => name.split(" ")[0]));
    const help = shelf.all().filter(({ id }) => id.startsWith("help/"));
    for (const { id, title, body } of help) {
      for (const [, group = "", verb = ""] of `${title} ${body}`.matchAll(/"?aiosctl ([a-z]+)(?: ([a-z]+))?/g)) {
        // "aiosctl gives JSON" is a sentence, not a command.
        const known = names.has(group) || names.has(`${group} ${verb}`) || group === "gives";
        expect(known || (verb === "" && first.has(group)), `${id}: aiosctl ${group} ${verb}`).toBe(true);
      }
    }
  });

  it("has a vector for each piece, and stays small", () => {
    const pieces = shelf.all();
    const vector = lexicalEmbedding.embedNow?.(pieces[0]?.body ?? "") ?? new Float32Array();
    expect(shelf.nearest(lexicalEmbedding, vector, ["knowledge", "procedures"], 10_000).length).toBe(pieces.length);
    expect(statSync(join(folder, "knowledge.db")).size).toBeLessThan(1_500_000);
  });

  it("is the same bytes when it is made again", () => {
    build(join(folder, "again.db"));
    expect(readFileSync(join(folder, "again.db")).equals(readFileSync(join(folder, "knowledge.db")))).toBe(true);
  });

  it("is searched by words and vectors without the vector server, and not only read from the file", async () => {
    const state = mkdtempSync("/tmp/aios-shelf-state-");
    const opened = await openMemory(state, new ManualClock(start), { shelfFile: join(folder, "knowledge.db") });
    const answer = await opened.query.search(
      SemanticSearchRequest.fromPartial({ query: "which task does each agent have now, and is it idle", nResults: 3 }),
    );
    expect(answer.ranking).toBe("fused");
    expect(answer.note).toBe("");
    expect(answer.results.map(({ id }) => id)).toContain("help/goals#what-agents-are-doing-now");
    await opened.close();
    rmSync(state, { recursive: true });
  });

  it("that is damaged costs its own content, not the memory", async () => {
    const state = mkdtempSync("/tmp/aios-shelf-state-");
    writeFileSync(join(state, "knowledge.db"), "this is no database");
    const opened = await openMemory(state, new ManualClock(start), { shelfFile: join(state, "knowledge.db") });
    await opened.memory.addKnowledge(KnowledgeEntry.fromPartial({ title: "Tea", content: "Three minutes." }));
    expect(
      (await opened.memory.searchKnowledge(SemanticSearchRequest.fromPartial({ query: "tea" }))).results.length,
    ).toBe(1);
    await opened.close();
    rmSync(state, { recursive: true });
  });
});
