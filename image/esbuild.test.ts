import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { bundle, keepModuleAddresses, replaceModule } from "./esbuild.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aios-esbuild-"));
  mkdirSync(join(folder, "dist/inner"), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

test("a module in a bundle knows the address that it had on its own", async () => {
  writeFileSync(
    join(folder, "dist/index.js"),
    'export { here } from "./inner/where.js"; export const top = import.meta.url;',
  );
  writeFileSync(join(folder, "dist/inner/where.js"), "export const here = import.meta.url;");
  const outfile = join(folder, "out/dist/index.mjs");
  const plugins = [keepModuleAddresses(/dist\/.*\.js$/, join(folder, "dist"))];
  await bundle({ entryPoints: [join(folder, "dist/index.js")], outfile, format: "esm", plugins });
  const { here, top } = (await import(pathToFileURL(outfile).href)) as { here: string; top: string };
  expect(here).toBe(pathToFileURL(join(folder, "out/dist/inner/where.js")).href);
  expect(top).toBe(pathToFileURL(join(folder, "out/dist/index.js")).href);
});

test("a module is replaced", async () => {
  writeFileSync(join(folder, "dist/index.js"), 'import { x } from "./inner/heavy.js"; console.log(x);');
  writeFileSync(join(folder, "dist/inner/heavy.js"), 'export const x = "heavy";');
  const outfile = join(folder, "out.mjs");
  const plugins = [replaceModule(/inner\/heavy\.js$/, 'export const x = "light";')];
  await bundle({ entryPoints: [join(folder, "dist/index.js")], outfile, format: "esm", plugins });
  expect(readFileSync(outfile, "utf8")).toContain("light");
  expect(readFileSync(outfile, "utf8")).not.toContain("heavy");
});

test("an error names file, line and column", async () => {
  writeFileSync(join(folder, "dist/index.js"), "\n  let = 1 1;");
  const failing = bundle({ entryPoints: [join(folder, "dist/index.js")], outfile: join(folder, "out.mjs") });
  await expect(failing).rejects.toThrow(/dist\/index\.js:2:\d+: /);
});

test("of Node's own modules only what is used is read", async () => {
  const outfile = join(folder, "out.mjs");
  writeFileSync(
    join(folder, "dist/index.js"),
    `import fs, { existsSync as exists } from "node:fs";
    import { request } from "http";
    import * as path from "node:path";
    const undici = process.moduleLoadList.filter((name) => name.includes("undici"));
    console.log(exists === fs.existsSync, typeof request, path.join("a", "b"), undici.length);`,
  );
  const saidBy = (program: string) => execFileSync(process.execPath, [program], { encoding: "utf8" });
  const [, , , unbundled] = saidBy(join(folder, "dist/index.js")).split(" ");
  expect(Number(unbundled)).toBeGreaterThan(0);
  await bundle({ entryPoints: [join(folder, "dist/index.js")], outfile, format: "esm" });
  expect(saidBy(outfile)).toBe("true function a/b 0\n");
});
