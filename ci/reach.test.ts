import { describe, expect, it } from "vitest";
import { type Reach, reachOf } from "./reach.ts";

/** What a change of these files reaches, in a house of files by their text. */
function reach(changed: readonly string[], files: Readonly<Record<string, string>>): Reach {
  const sources = Object.entries(files).map(([path, text]) => ({ path, text }));
  return reachOf(
    changed,
    Object.keys(files),
    sources.filter(({ path }) => path.endsWith(".ts")),
  );
}

const one = "daemons/tools/one.test.ts";
const other = "daemons/tools/other.test.ts";
const house = {
  [one]: 'import { a } from "./one.ts";\n',
  [other]: "",
  "daemons/tools/one.ts": "",
  "daemons/lib/b.ts": 'import { c } from "./c.ts";\n',
  "daemons/lib/c.ts": "",
  "rootfs/etc/x.toml": "",
};

describe("a change reaches a test", () => {
  it("that is changed itself", () => {
    expect(reach([other], house)).toEqual({ tests: [other] });
  });

  it.each([
    ["an import", 'import {\n  b,\n  type C,\n} from "#lib/b";\n'],
    ["a re-export", 'export * from "#lib/b";\n'],
    ["an import for its effect", 'import "../lib/b.ts";\n'],
    ["a late import", 'await import("#lib/b");'],
    ["a program that it starts", 'spawn(node, [here("../lib/b.ts")])'],
    ["a program by a folder", `spawn(node, [\`\${import.meta.dirname}/../lib/b.ts\`])`],
    ["a computed program", `here(\`../../daemons/\${name}/b.ts\`)`],
    ["a bundle", 'join(root, "daemons/lib/b.ts")'],
    ["a path in a program's text", `run(\`import \${JSON.stringify(join(root, "daemons/lib/b.ts"))};\`)`],
    ["a pattern of files", `globSync(\`\${import.meta.dirname}/../**/*.ts\`)`],
  ])("by %s", (_, text) => {
    const files = { ...house, "daemons/tools/one.ts": text };
    expect(reach(["daemons/lib/b.ts"], files).tests).toEqual([one]);
    if (!text.startsWith("globSync")) expect(reach(["daemons/lib/c.ts"], files).tests).toEqual([one]);
  });

  it.each([
    ["file", 'new URL("../../rootfs/etc/x.toml", import.meta.url)'],
    ["folder", 'const etc = join(import.meta.dirname, "../../rootfs/etc");'],
    ["folder of the repository's", 'join(repository, "rootfs")'],
  ])("by a %s that it reads", (_, text) => {
    expect(reach(["rootfs/etc/x.toml"], { ...house, "daemons/tools/one.ts": text })).toEqual({ tests: [one] });
  });

  it("by a file that is gone", () => {
    const files = { ...house, "daemons/tools/one.ts": 'import { gone } from "#lib/gone";\n' };
    expect(reach(["daemons/lib/gone.ts"], files)).toEqual({ tests: [one] });
  });

  it("through an index by the values that it asks for there", () => {
    const files = {
      ...house,
      "daemons/tools/one.ts": 'import { a, type Z } from "./room/index.ts";\n',
      [other]: 'import { z } from "./room/index.ts";\n',
      "daemons/tools/room/index.ts":
        '/** A room. Anyone. */\nexport { a } from "./a.ts";\nexport { type Z, z } from "./z.ts";\n',
      "daemons/tools/room/a.ts": "",
      "daemons/tools/room/z.ts": "",
    };
    expect(reach(["daemons/tools/room/a.ts"], files).tests).toEqual([one]);
    expect(reach(["daemons/tools/room/z.ts"], files).tests).toEqual([other]);
    expect(reach(["daemons/tools/room/index.ts"], files).tests).toEqual([one, other]);
  });

  it("not by types and comments, nor through what is only read", () => {
    const files = {
      ...house,
      "daemons/tools/one.ts": [
        'import type { B } from "#lib/b";',
        'import { type C } from "#lib/b";',
        "// as daemons/lib/b.ts does",
        'readFileSync("daemons/tools/other.test.ts"); readdirSync("../memory/store");',
      ].join("\n"),
      [other]: 'import { b } from "#lib/b";\n',
      "daemons/memory/store/d.ts": 'import { b } from "#lib/b";\n',
    };
    expect(reach(["daemons/lib/b.ts"], files).tests).toEqual([other]);
    expect(reach(["daemons/memory/store/d.ts"], files).tests).toEqual([one]);
  });
});

describe("every test is reached", () => {
  it.each(["package.json", "package-lock.json", "vitest.config.ts", "tsconfig.json", "ci/setup"])("by %s", (path) => {
    const because = `every test stands on ${path}`;
    expect(reach([path], { ...house, [path]: "" })).toEqual({ tests: [one, other], because });
  });

  it("by what no source names", () => {
    const because = "no source tells which test reads rootfs/etc/x.toml";
    expect(reach(["rootfs/etc/x.toml"], house)).toEqual({ tests: [one, other], because });
  });
});

it.each(["README.md", "findings/x.sh", "ci/tidy.ts", "proto/aios/tools.proto", "qemu/tests/boot.test.ts"])(
  "%s alone reaches no unit test",
  (path) => expect(reach([path], { ...house, [path]: "" })).toEqual({ tests: [] }),
);
