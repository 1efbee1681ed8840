import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { attributesOf, setAttributes } from "../../files/attributes.ts";
import { putFile } from "../../files/handles.ts";
import { type Answer, type Machine, startMachine } from "../../testing/harness.ts";
import { append } from "../fs/append.ts";
import { undoWrite } from "./write.ts";

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

async function onSmallDisk(act: (disk: string) => Promise<void>): Promise<void> {
  const disk = `${work}/small`;
  mkdirSync(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]);
  try {
    await act(disk);
  } finally {
    execFileSync("umount", [disk]);
  }
}

describe("fs.write over a file", () => {
  const note = (text: string) => ({ "user.note": Buffer.from(text).toString("base64") });
  /** An access list as the kernel keeps it: version 2, then tag, rights and user of each entry. */
  const list = Buffer.from(
    [
      "02000000",
      "01000600ffffffff",
      "0200040001000000",
      "04000400ffffffff",
      "10000600ffffffff",
      "20000000ffffffff",
    ].join(""),
    "hex",
  );

  it("keeps its extended attributes and access list, and so does taking it back", async () => {
    const path = `${work}/f`;
    writeFileSync(path, "old", { mode: 0o640 });
    setAttributes(path, { ...note("kept"), "system.posix_acl_access": list.toString("base64") });
    const before = attributesOf(path);
    expect(Object.keys(before).sort()).toEqual(["system.posix_acl_access", "user.note"]);
    const { mode } = statSync(path);
    const written = await call("fs.write", { path, content: "new" });
    expect(written.error).toBe("");
    expect([readFileSync(path, "utf8"), attributesOf(path), statSync(path).mode]).toEqual(["new", before, mode]);
    expect(await back(written)).toEqual(done);
    expect([readFileSync(path, "utf8"), attributesOf(path), statSync(path).mode]).toEqual(["old", before, mode]);
  });

  it("with several names stays that file, before and after", async () => {
    const path = `${work}/f`;
    writeFileSync(path, "the old content, which is long");
    linkSync(path, `${work}/other`);
    const { ino } = statSync(path);
    const written = await call("fs.write", { path, content: "new" });
    expect(readFileSync(`${work}/other`, "utf8")).toBe("new");
    await machine.restart();
    expect(await back(written)).toEqual(done);
    expect(readFileSync(`${work}/other`, "utf8")).toBe("the old content, which is long");
    expect(statSync(path)).toMatchObject({ ino, nlink: 2 });
  });

  it("with several names is as it was when the disk is full", async () => {
    await onSmallDisk(async (disk) => {
      writeFileSync(`${disk}/f`, "a".repeat(5_000));
      linkSync(`${disk}/f`, `${disk}/other`);
      const answer = await call("fs.write", { path: `${disk}/f`, content: "x".repeat(100_000) });
      expect(answer).toMatchObject({ success: false, error: expect.stringContaining("ENOSPC") });
      expect(readFileSync(`${disk}/other`, "utf8")).toBe("a".repeat(5_000));
      const written = await call("fs.write", { path: `${disk}/f`, content: "b" });
      expect([written.error, readFileSync(`${disk}/other`, "utf8")]).toEqual(["", "b"]);
    });
  });

  it.each([
    ["neXXXX", "before"],
    ["neforY", "neforY"],
    ["Y", "Y"],
    ["before", "before"],
    ["new", "new"],
  ])("with several names is put back as it was when that was interrupted: %s", async (found, left) => {
    const path = `${work}/f`;
    writeFileSync(path, found.replace("XXXX", "fore"));
    linkSync(path, `${work}/other`);
    const sha256 = hash("sha256", "before");
    const before = { sha256, links: 2, mode: 0o644, uid: 0, gid: 0 };
    const plan = { path, folder: work, madeFolders: [], written: hash("sha256", "new"), bytes: 3, before };
    const backups = { save: () => Promise.reject(new Error()), load: async () => Buffer.from("before") };
    await undoWrite.settle?.(plan, { executionId: "e", backups });
    expect(readFileSync(`${work}/other`, "utf8")).toBe(left);
  });
});

describe("fs.append", () => {
  it("adds at the end, and is cut off again, also after a restart", async () => {
    writeFileSync(`${work}/log`, "one\n");
    const added = await call("fs.append", { path: `${work}/log`, content: "zwö\n" });
    expect(added).toMatchObject({ success: true, output: { bytes_written: 5, size: 9 } });
    expect(readFileSync(`${work}/log`, "utf8")).toBe("one\nzwö\n");
    await machine.restart();
    expect(await back(added)).toEqual(done);
    expect(readFileSync(`${work}/log`, "utf8")).toBe("one\n");
  });

  it("makes a file that is removed again, and takes nothing back that others went on with", async () => {
    const made = await call("fs.append", { path: `${work}/new`, content: "x" });
    const more = await call("fs.append", { path: `${work}/new`, content: "y" });
    expect(await back(made)).toMatchObject({ success: false, error: expect.stringContaining("changed again") });
    expect(await back(more)).toEqual(done);
    expect(await back(made)).toEqual(done);
    expect(existsSync(`${work}/new`)).toBe(false);
    expect(await call("fs.append", { path: work, content: "" })).toMatchObject({ success: false });
  });
});

describe("a new file", () => {
  it("takes the place of nothing that another has put there meanwhile", async () => {
    const folder = openSync(work, "r");
    const owned = { mode: 0o644, uid: 0, gid: 0 };
    try {
      writeFileSync(`${work}/f`, "another's");
      const put = putFile({ fd: folder }, "f", ".aios-e", Buffer.from("mine"), owned, true);
      await expect(put).rejects.toMatchObject({ code: "EEXIST" });
      expect([readFileSync(`${work}/f`, "utf8"), readdirSync(work)]).toEqual(["another's", ["f"]]);
      await putFile({ fd: folder }, "g", ".aios-e", Buffer.from("mine"), owned, true);
      expect([statSync(`${work}/g`).nlink, readdirSync(work)]).toEqual([1, ["f", "g"]]);
    } finally {
      closeSync(folder);
    }
  });
});

describe("fs.append to text of another kind", () => {
  it.each([
    ["UTF-16LE", Buffer.from("\ufeffa\nb", "utf16le")],
    ["UTF-16BE", Buffer.from("\ufeffa\nb", "utf16le").swap16()],
  ])("is refused: %s", async (_, content) => {
    writeFileSync(`${work}/f`, content);
    for (const line of [true, false])
      expect(await call("fs.append", { path: `${work}/f`, content: "c", line })).toMatchObject({
        success: false,
        error: expect.stringContaining("its text is UTF-16"),
      });
    expect(readFileSync(`${work}/f`)).toEqual(content);
  });
});

describe("fs.append of a line", () => {
  it.each([
    ["eggs", "cheese", "eggs\ncheese\n"],
    ["eggs\n", "cheese", "eggs\ncheese\n"],
    ["eggs\n", "cheese\n", "eggs\ncheese\n"],
    ["eggs\r\n", "cheese", "eggs\r\ncheese\r\n"],
    ["a\r\neggs", "cheese", "a\r\neggs\r\ncheese\r\n"],
    ["a\r\nb\n", "cheese", "a\r\nb\ncheese\n"],
    ["eggs\r\n", "b\nc\n", "eggs\r\nb\r\nc\r\n"],
    ["", "cheese", "cheese\n"],
    ["eggs", "", "eggs\n\n"],
    [undefined, "cheese", "cheese\n"],
    [`${"x".repeat(70_000)}\r\nend`, "cheese", `${"x".repeat(70_000)}\r\nend\r\ncheese\r\n`],
    ["käse", "größe", "käse\ngröße\n"],
  ])("gives it a line of its own, with the file's line ends: %#", async (before, content, after) => {
    const path = `${work}/list`;
    if (before !== undefined) writeFileSync(path, before);
    const added = await call("fs.append", { path, content, line: true });
    expect(readFileSync(path, "utf8")).toBe(after);
    expect(added.output).toEqual({
      bytes_written: Buffer.byteLength(after) - Buffer.byteLength(before ?? ""),
      size: Buffer.byteLength(after),
    });
    expect(await back(added)).toEqual(done);
    if (before === undefined) expect(existsSync(path)).toBe(false);
    else expect(readFileSync(path, "utf8")).toBe(before);
  });
});

describe("fs.append that was interrupted", () => {
  const plan = { size: 5, added: 10, modifiedMs: 1_000_000 };
  const settle = (text: string) => {
    const backups = { save: () => Promise.reject(new Error()), load: async () => Buffer.from(text) };
    return append.undo?.settle?.({ ...plan, path: `${work}/f` }, { executionId: "e", backups });
  };

  it.each([
    ["12345abcd", "12345"],
    ["12345", "12345"],
    ["12345abcdefghij", "12345abcdefghij"],
    ["12345xbcd", "12345xbcd"],
    ["12345abcdX", "12345abcdX"],
    ["123", "123"],
    ["12345abcdefghijk", "12345abcdefghijk"],
  ])("is cut off as far as it is its own: %s", async (found, left) => {
    writeFileSync(`${work}/f`, found);
    await settle("abcdefghij");
    expect(readFileSync(`${work}/f`, "utf8")).toBe(left);
  });

  it("by a full disk leaves what was there, and no part of itself", async () => {
    await onSmallDisk(async (disk) => {
      writeFileSync(`${disk}/f`, "12345");
      const answer = await call("fs.append", { path: `${disk}/f`, content: "x".repeat(100_000) });
      expect(answer).toMatchObject({ success: false, error: expect.stringContaining("ENOSPC") });
      expect(readFileSync(`${disk}/f`, "utf8")).toBe("12345");
    });
  });
});
