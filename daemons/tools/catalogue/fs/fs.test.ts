import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Answer, type Machine, startMachine } from "../../testing/harness.ts";

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(work);
});

afterEach(() => machine.close());

const call = (tool: string, input: object): Promise<Answer> => machine.core.call(tool, input);
const back = ({ executionId }: Answer) => machine.core.raw.rollback({ executionId, reason: "" });
const done = { success: true, error: "" };

/** What a folder holds, as one can compare it. */
function picture(folder: string): unknown {
  return (readdirSync(folder, { encoding: "buffer" }) as Buffer[]).sort(Buffer.compare).map((name) => {
    const path = Buffer.concat([Buffer.from(`${folder}/`), name]);
    const found = lstatSync(path);
    const content = found.isFile() ? readFileSync(path, "utf8") : undefined;
    const target = found.isSymbolicLink() ? readlinkSync(path) : undefined;
    const inner = found.isDirectory() ? picture(path.toString()) : undefined;
    return [name.toString("latin1"), found.mode, found.uid, found.gid, content ?? target ?? inner];
  });
}

function makeTree(top: string): void {
  mkdirSync(`${top}/a/b`, { recursive: true });
  writeFileSync(`${top}/a/one.conf`, "listen 80;\n", { mode: 0o640 });
  writeFileSync(`${top}/a/b/two.txt`, "first\nlisten 81;\n");
  writeFileSync(Buffer.from(`${top}/a/\xff`, "latin1"), "odd");
  utimesSync(`${top}/a/one.conf`, 1_000_000, 1_000_000);
  symlinkSync("b/two.txt", `${top}/a/link`);
  symlinkSync("/nowhere", `${top}/a/dangling`);
}

describe("fs.delete", () => {
  it("deletes a file, a link itself, and a folder only when told to; all come back as they were", async () => {
    makeTree(work);
    const before = picture(work);
    const file = await call("fs.delete", { path: `${work}/a/one.conf` });
    const link = await call("fs.delete", { path: `${work}/a/link` });
    expect(file.output).toEqual({ deleted: true, permanent: false });
    expect(readFileSync(`${work}/a/b/two.txt`, "utf8")).toContain("first");
    expect(await call("fs.delete", { path: `${work}/a` })).toMatchObject({
      success: false,
      error: expect.stringContaining("recursive=true"),
    });
    const tree = await call("fs.delete", { path: `${work}/a`, recursive: true });
    expect(existsSync(`${work}/a`)).toBe(false);
    await machine.restart();
    for (const answer of [tree, link, file]) expect(await back(answer)).toEqual(done);
    expect(picture(work)).toEqual(before);
    expect(statSync(`${work}/a/one.conf`).mtimeMs).toBe(1_000_000_000);
  });

  it("refuses what is too large to come back unless it is meant to be permanent", async () => {
    writeFileSync(`${work}/large`, Buffer.alloc(65 * 1024 * 1024, "x"));
    expect(await call("fs.delete", { path: `${work}/large` })).toMatchObject({
      success: false,
      error: expect.stringContaining("permanent=true"),
    });
    const gone = await call("fs.delete", { path: `${work}/large`, permanent: true });
    expect(existsSync(`${work}/large`)).toBe(false);
    expect(gone).toMatchObject({ output: { deleted: true, permanent: true }, backupId: "" });
    await expect(back(gone)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("no copy is kept of what is deleted for good"),
    });
    expect(await call("fs.delete", { path: `${work}/none` })).toMatchObject({
      error: expect.stringMatching(/^delete .*none: it does not exist/),
    });
  });

  it("does not put back over what stands there now", async () => {
    writeFileSync(`${work}/f`, "old");
    const gone = await call("fs.delete", { path: `${work}/f` });
    writeFileSync(`${work}/f`, "new");
    expect(await back(gone)).toMatchObject({ success: false, error: expect.stringContaining("changed again") });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("new");
  });
});

describe("fs.mkdir and fs.symlink", () => {
  it("make and take back", async () => {
    expect(await call("fs.mkdir", { path: `${work}/x/y` })).toMatchObject({ success: false });
    const made = await call("fs.mkdir", { path: `${work}/x/y`, recursive: true });
    expect(made.output).toEqual({ created: 2 });
    expect((await call("fs.mkdir", { path: `${work}/x`, recursive: true })).output).toEqual({ created: 0 });
    expect(await call("fs.mkdir", { path: `${work}/x` })).toMatchObject({ error: expect.stringContaining("exists") });
    const link = await call("fs.symlink", { path: `${work}/x/l`, target: `${work}/x/y` });
    expect(readlinkSync(`${work}/x/l`)).toBe(`${work}/x/y`);
    expect(await call("fs.symlink", { path: `${work}/x/l`, target: "/etc" })).toMatchObject({ success: false });
    expect(await back(made)).toMatchObject({ success: false, error: expect.stringContaining("something lies in it") });
    expect(await back(link)).toEqual(done);
    await call("fs.mkdir", { path: `${work}/x/y` });
    expect(await back(made)).toEqual(done);
    expect(readdirSync(work)).toEqual([]);
  });

  it("gives no second name to what its caller may not read", async () => {
    const grant = { agent_id: "task", capabilities: [`fs:write:${work}/**`], reason: "r" };
    await machine.core.call("sec.grant", grant);
    const link = machine.agent("task").call("fs.symlink", { path: `${work}/l`, target: "/etc/shadow" });
    await expect(link).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});

describe("fs.move", () => {
  it("moves files and folders, and back", async () => {
    makeTree(work);
    const before = picture(work);
    const moved = await call("fs.move", { source: `${work}/a`, destination: `${work}/c` });
    expect(moved.output).toEqual({ moved: true });
    expect(readdirSync(work)).toEqual(["c"]);
    await machine.restart();
    expect(await back(moved)).toEqual(done);
    expect(picture(work)).toEqual(before);
  });

  it("replaces a file only when told to, and brings it back", async () => {
    writeFileSync(`${work}/a`, "a");
    writeFileSync(`${work}/b`, "b");
    const input = { source: `${work}/a`, destination: `${work}/b` };
    expect(await call("fs.move", input)).toMatchObject({ error: expect.stringContaining("exists already") });
    const moved = await call("fs.move", { ...input, overwrite: true });
    expect(picture(work)).toMatchObject([["b", expect.anything(), 0, 0, "a"]]);
    expect(await back(moved)).toEqual(done);
    expect([readFileSync(`${work}/a`, "utf8"), readFileSync(`${work}/b`, "utf8")]).toEqual(["a", "b"]);
  });

  it("goes over file systems", async () => {
    const far = `/tmp/aios-move-${process.pid}`;
    makeTree(work);
    const before = picture(work);
    expect(statSync("/tmp").dev).not.toBe(statSync(work).dev);
    const moved = await call("fs.move", { source: `${work}/a`, destination: far });
    expect(readFileSync(`${far}/link`, "utf8")).toContain("first");
    expect(await back(moved)).toEqual(done);
    expect(picture(work)).toEqual(before);
    expect(existsSync(far)).toBe(false);
  });

  it("refuses a folder into itself and a folder that is not there", async () => {
    mkdirSync(`${work}/a`);
    for (const destination of [`${work}/a/b`, `${work}/a`, `${work}/none/b`]) {
      expect(await call("fs.move", { source: `${work}/a`, destination })).toMatchObject({ success: false });
    }
  });
});

describe("fs.copy", () => {
  it("copies a tree as it is, and removes the copy unless it was changed", async () => {
    makeTree(work);
    const copied = await call("fs.copy", { source: `${work}/a`, destination: `${work}/c` });
    expect(copied.output).toEqual({ bytes_copied: 31, entries: 7 });
    expect(picture(`${work}/c`)).toEqual(picture(`${work}/a`));
    chmodSync(`${work}/c/one.conf`, 0o600);
    expect(await back(copied)).toMatchObject({ success: false, error: expect.stringContaining("changed again") });
    chmodSync(`${work}/c/one.conf`, 0o640);
    expect(await back(copied)).toEqual(done);
    expect(readdirSync(work)).toEqual(["a"]);
  });

  it("replaces a file when told to, and of a folder needs more than the grant to list it", async () => {
    writeFileSync(`${work}/a`, "a");
    writeFileSync(`${work}/b`, "b");
    const input = { source: `${work}/a`, destination: `${work}/b`, overwrite: true };
    const copied = await call("fs.copy", input);
    expect(readFileSync(`${work}/b`, "utf8")).toBe("a");
    expect(await back(copied)).toEqual(done);
    expect(readFileSync(`${work}/b`, "utf8")).toBe("b");
    await machine.core.call("sec.grant", {
      agent_id: "task",
      capabilities: [`fs:read:${work}`, `fs:write:${work}/c`],
      reason: "r",
    });
    await expect(
      machine.agent("task").call("fs.copy", { source: work, destination: `${work}/c` }),
    ).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});

describe("fs.chmod and fs.chown", () => {
  it("change one or all below, and back", async () => {
    makeTree(work);
    const before = picture(work);
    const mode = await call("fs.chmod", { path: `${work}/a`, mode: "0700", recursive: true });
    expect(mode.output).toEqual({ changed: 5 });
    expect(statSync(`${work}/a/b/two.txt`).mode & 0o7777).toBe(0o700);
    const owner = await call("fs.chown", { path: `${work}/a/one.conf`, uid: 1234, gid: 1235 });
    expect(owner.output).toEqual({ changed: 1 });
    expect(statSync(`${work}/a/one.conf`)).toMatchObject({ uid: 1234, gid: 1235 });
    await machine.restart();
    expect(await back(owner)).toEqual(done);
    expect(await back(mode)).toEqual(done);
    expect(picture(work)).toEqual(before);
  });

  it("give nobody another's rights", async () => {
    const input = { path: work, mode: "4755" };
    await expect(call("fs.chmod", input)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await call("fs.chmod", { path: `${work}/none`, mode: "644" })).toMatchObject({ success: false });
  });
});

describe("fs.search and fs.disk_usage", () => {
  it("find by name and by content, bounded", async () => {
    makeTree(work);
    const search = async (input: object) => (await call("fs.search", { directory: work, ...input })).output;
    expect(await search({ pattern: "*.conf" })).toEqual({
      matches: [{ path: `${work}/a/one.conf`, type: "file", size: 11 }],
      truncated: false,
    });
    expect((await search({ content: "listen 8" })).matches).toEqual([
      { path: `${work}/a/b/two.txt`, type: "file", size: 17, lines: [{ line: 2, text: "listen 81;" }] },
      { path: `${work}/a/one.conf`, type: "file", size: 11, lines: [{ line: 1, text: "listen 80;" }] },
    ]);
    expect(await search({ limit: 2 })).toMatchObject({ matches: [{}, {}], truncated: true });
    expect((await search({ max_depth: 1 })).matches).toMatchObject([{ path: `${work}/a`, type: "directory" }]);
    expect(await call("fs.search", { directory: `${work}/a/one.conf` })).toMatchObject({ success: false });
  });

  it("pass over what is reserved", async () => {
    const { output } = await call("fs.search", { directory: `${machine.folder}/state` });
    expect(output.matches.map(({ path }: { path: string }) => path)).not.toContain(`${machine.folder}/state/ledger`);
    expect(JSON.stringify(output)).not.toContain("ledger.db");
  });

  it("tell what takes up space as du does: a file with several names once, a sparse one by its blocks", async () => {
    mkdirSync(`${work}/links/inner`, { recursive: true });
    writeFileSync(`${work}/links/a`, Buffer.alloc(2 ** 20, "x"));
    linkSync(`${work}/links/a`, `${work}/links/b`);
    linkSync(`${work}/links/a`, `${work}/links/inner/c`);
    writeFileSync(`${work}/links/sparse`, "x");
    truncateSync(`${work}/links/sparse`, 2 ** 30);
    const { output } = await call("fs.disk_usage", { path: `${work}/links` });
    const [du = ""] = execFileSync("du", ["-s", "-B1", `${work}/links`], { encoding: "utf8" }).split("\t");
    expect(output).toMatchObject({ size_bytes: Number(du), entries: 6 });
    const parts = output.largest.map(({ bytes }: { bytes: number }) => bytes);
    expect(parts.reduce((a: number, b: number) => a + b, 0)).toBeLessThanOrEqual(output.size_bytes);
    const kept = await call("backup.create", { path: `${work}/links` });
    expect(kept.output).toMatchObject({ entries: 6, content_bytes: 2 ** 20 + 4096 });
    const copied = await call("fs.copy", { source: `${work}/links`, destination: `${work}/copy` });
    expect(copied.output).toEqual({ bytes_copied: 2 ** 20 + 4096, entries: 6 });
    const gone = await call("fs.delete", { path: `${work}/links`, recursive: true });
    expect(await back(gone)).toEqual(done);
    expect(statSync(`${work}/links/b`).nlink).toBe(3);
    expect(statSync(`${work}/links/sparse`)).toMatchObject({ size: 2 ** 30, blocks: 8 });
  });

  it("tell what takes up space", async () => {
    makeTree(work);
    writeFileSync(`${work}/big`, "x".repeat(100_000));
    const { output } = await call("fs.disk_usage", { path: work });
    expect(output.size_bytes).toBeGreaterThanOrEqual(100_000);
    expect(output).toMatchObject({ entries: 9, largest: [{ name: "big", bytes: expect.any(Number) }, { name: "a" }] });
    expect(output.used_bytes + output.available_bytes).toBeLessThanOrEqual(output.total_bytes);
  });
});
