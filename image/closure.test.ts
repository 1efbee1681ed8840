import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { closureOf } from "./closure.ts";

let repository: string;
beforeEach(() => {
  repository = mkdtempSync(join(tmpdir(), "aios-closure-"));
});
afterEach(() => rmSync(repository, { recursive: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(repository, path)), { recursive: true });
    writeFileSync(join(repository, path), text);
  }
}

test("imports of every kind are followed, by package.json's names too, in circles once", () => {
  write({
    "image/a.ts": 'import { x } from "./b.ts";\nimport "../qemu/c.ts";\nimport zx from "zx";\nimport "node:fs";\n',
    "image/b.ts": 'export * from "#lib/d";\nexport {\n  type T,\n  t,\n} from "#proto/aios/e";\nimport "./a.ts";\n',
    "qemu/c.ts": 'const late = () => import("../image/f.ts");\nconst later = await import(`./g.ts`);\n',
    "daemons/lib/d.ts": 'import { users } from "#manifest";\n',
    ...{
      "daemons/manifest.ts": "",
      "proto/gen/aios/e.ts": "",
      "image/f.ts": "",
      "qemu/g.ts": "",
      "image/other.ts": "",
    },
  });
  expect(closureOf(["image/a.ts"], repository)).toEqual([
    ...["daemons/lib/d.ts", "daemons/manifest.ts", "image/a.ts", "image/b.ts", "image/f.ts"],
    ...["proto/gen/aios/e.ts", "qemu/c.ts", "qemu/g.ts"],
  ]);
});

test("what is taken for its types alone is left out; with a value beside them it is not", () => {
  write({
    "image/a.ts": [
      'import { readFileSync } from "node:fs";',
      'import type { T } from "./types.ts";',
      'export type { U } from "./more.ts";',
      'import { type V, value } from "./values.ts";',
      "export type W = T;",
      'import { x } from "./last.ts";',
    ].join("\n"),
    ...{ "image/types.ts": "", "image/more.ts": "", "image/values.ts": "", "image/last.ts": "" },
  });
  expect(closureOf(["image/a.ts"], repository)).toEqual(["image/a.ts", "image/last.ts", "image/values.ts"]);
});

test("a module that is not there is named", () => {
  expect(() => closureOf(["image/nowhere.ts"], repository)).toThrow("image/nowhere.ts");
});
