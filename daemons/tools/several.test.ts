import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Machine, startMachine } from "./testing/harness.ts";

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(work);
});
afterEach(() => machine.close());

const write = async (name: string, content: string) =>
  (await machine.core.call("fs.write", { path: `${work}/${name}`, content })).executionId;

const rollback = (...ids: string[]) => machine.core.raw.rollback({ executionId: ids.join(","), reason: "a test" });

describe("several executions", () => {
  it("are taken back the latest first, in whatever order they are named, also after a restart", async () => {
    writeFileSync(`${work}/f`, "0");
    const ids = [await write("f", "1"), await write("f", "2"), await write("sub/g", "x"), await write("f", "3")];
    await machine.restart();
    const [a = "", b = "", c = "", d = ""] = ids;
    expect(await rollback(b, d, a, c)).toEqual({ success: true, error: "" });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("0");
    expect(existsSync(`${work}/sub`)).toBe(false);
  });

  it("are taken back as far as it goes, and what could not be is said", async () => {
    const ids = [await write("f", "1"), await write("g", "1"), await write("h", "1")];
    writeFileSync(`${work}/g`, "changed by hand");
    const { success, error } = await rollback(...ids);
    expect(success).toBe(false);
    expect(error).toBe(`${ids[1]}: restore ${work}/g: it was changed again since; roll back the later change first`);
    expect([existsSync(`${work}/f`), existsSync(`${work}/g`), existsSync(`${work}/h`)]).toEqual([false, true, false]);
    expect((await rollback(...ids)).error).toContain(`${ids[0]}: roll back ${ids[0]}: it was rolled back already`);
  });

  it("that are none, or too many, are refused", async () => {
    const id = "0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11";
    expect((await rollback(await write("f", "1"), id)).error).toContain("there is no such execution");
    await expect(rollback(id, "x")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const many = Array.from({ length: 101 }, (_, at) => id.replace("0199", String(1000 + at)));
    await expect(rollback(...many)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("a change of a copy", () => {
  it.each(["fs.write", "fs.append"])("by %s and the copy are taken back one after the other", async (tool) => {
    writeFileSync(`${work}/a`, "a");
    const copied = await machine.core.call("fs.copy", { source: `${work}/a`, destination: `${work}/b` });
    const changed = await machine.core.call(tool, { path: `${work}/b`, content: "more" });
    expect(await rollback(copied.executionId, changed.executionId)).toEqual({ success: true, error: "" });
    expect(existsSync(`${work}/b`)).toBe(false);
  });
});
