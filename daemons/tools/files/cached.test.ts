import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCached, standsPlainly } from "./cached.ts";
import { resolvePath } from "./paths.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aios-cached-"));
  mkdirSync(`${folder}/real/deep`, { recursive: true });
  writeFileSync(`${folder}/real/file`, "content");
  symlinkSync("real", `${folder}/link`);
  symlinkSync("real/file", `${folder}/link-to-file`);
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a look from memory", () => {
  it("says of what stands that it does", () => {
    for (const path of ["", "/", "/real", "/real/file", "/real/deep/../file", "/./real//deep/"])
      expect(standsPlainly(folder + path), path).toBe(true);
    expect(standsPlainly("/")).toBe(true);
  });

  it("says nothing of what a link leads to, what is missing, and what no folder is", () => {
    for (const path of [
      "link",
      "link/file",
      "link-to-file",
      "missing",
      "missing/../real",
      "real/file/",
      "real/file/..",
    ])
      expect(standsPlainly(`${folder}/${path}`), path).toBe(false);
    for (const path of ["/proc/self", "/proc/self/cwd", "/proc/self/fd/0"])
      expect(standsPlainly(path), path).toBe(false);
  });

  it("leaves a path what it was: links are followed, and nothing is climbed out of that is missing", async () => {
    expect(await resolvePath("/")).toMatchObject({ path: "/", folder: "/", names: [], exists: true });
    for (const path of ["link/file", "link-to-file", "real/deep/../file", "real/file/"])
      expect(await resolvePath(`${folder}/${path}`), path).toMatchObject({
        path: `${folder}/real/file`,
        folder: `${folder}/real`,
        names: ["file"],
        exists: true,
      });
    await expect(resolvePath(`${folder}/missing/../real`)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("reads a small file whole, or says nothing where it has another size by now", () => {
    const fd = openSync(`${folder}/real/file`, "r");
    try {
      // A file system that cannot answer from memory alone says nothing.
      expect(["content", undefined]).toContain(readCached(fd, 7)?.toString());
      expect(["content", undefined]).toContain(readCached(fd, 7)?.toString());
      appendFileSync(`${folder}/real/file`, "!");
      expect(readCached(fd, 7)).toBeUndefined();
      expect(readCached(fd, 9)).toBeUndefined();
      expect(readCached(fd, 0)).toBeUndefined();
    } finally {
      closeSync(fd);
    }
  });

  it("gives contents that stay as they were read", () => {
    const [one, other] = ["first", "other"].map((text) => {
      writeFileSync(`${folder}/${text}`, text);
      const fd = openSync(`${folder}/${text}`, "r");
      const content = readCached(fd, 5);
      closeSync(fd);
      return content;
    });
    expect([one?.toString() ?? "first", other?.toString() ?? "other"]).toEqual(["first", "other"]);
  });
});
