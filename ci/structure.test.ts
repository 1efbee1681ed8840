import { describe, expect, it } from "vitest";
import { readModule } from "./modules.ts";
import { circleFindings, exportFindings, folderFindings, roomFindings, testingFindings } from "./structure.ts";

const house = (files: Readonly<Record<string, string>>) =>
  Object.entries(files).map(([path, text]) => readModule({ path, text }));
const problems = (found: readonly { path: string; line: number; problem: string }[]) =>
  found.map(({ path, line, problem }) => `${path}:${line}: ${problem}`);

describe("circles", () => {
  it("shows one of types alone, and the shortest of several", () => {
    const found = circleFindings(
      house({
        "daemons/a/x.ts": '/** X. */\nimport type { Y } from "./y.ts";',
        "daemons/a/y.ts": 'export { Z } from "./z.ts";\nexport interface Y {}',
        "daemons/a/z.ts": 'import { x } from "./x.ts";\nimport type { Y } from "./y.ts";',
      }),
    );
    expect(problems(found)).toEqual([
      expect.stringMatching(
        /^daemons\/a\/x\.ts:2: .*daemons\/a\/x\.ts → daemons\/a\/y\.ts → daemons\/a\/z\.ts → daemons\/a\/x\.ts: move/,
      ),
    ]);
  });

  it("sees through late imports, types of them, and an index", () => {
    for (const text of ['const y = await import("./y/index.ts");', 'type Y = import("./y/index.ts").Y;']) {
      expect(
        circleFindings(
          house({
            "daemons/a/x.ts": text,
            "daemons/a/y/index.ts": 'export { y } from "./y.ts";',
            "daemons/a/y/y.ts": 'import "../x.ts";',
          }),
        ),
        text,
      ).toHaveLength(1);
    }
  });

  it("lets two ways lead to one file", () => {
    const files = { "daemons/a/x.ts": 'import "./y.ts"; import "./z.ts";', "daemons/a/y.ts": 'import "./z.ts";' };
    expect(circleFindings(house({ ...files, "daemons/a/z.ts": 'import "#lib/log";' }))).toEqual([]);
  });
});

describe("exports", () => {
  it("names what nobody imports, types too", () => {
    const found = exportFindings(
      house({
        "daemons/a/x.ts": "export const used = 1;\nexport const unused = 2;\nexport interface Unused {}\nunused;",
        "daemons/a/main.ts": 'import { used } from "./x.ts";',
      }),
    );
    expect(found).toMatchObject([
      { line: 2, problem: expect.stringContaining("nobody imports unused: take the word export away") },
      { line: 3, problem: expect.stringContaining("nobody imports Unused") },
    ]);
  });

  it("counts what an index hands on when somebody takes it there", () => {
    const files = {
      "daemons/a/r/x.ts": "export const taken = 1;\nexport const left = 2;\nexport default 3;",
      "daemons/a/r/index.ts": 'export { taken } from "./x.ts";\nexport { left, default as third } from "./x.ts";',
    };
    const found = exportFindings(house({ ...files, "daemons/a/main.ts": 'import { taken } from "./r/index.ts";' }));
    expect(problems(found)).toEqual([
      expect.stringContaining("x.ts:2: nobody imports left"),
      expect.stringContaining("x.ts:3: nobody imports default"),
      expect.stringContaining("index.ts:2: nobody takes left from here"),
      expect.stringContaining("index.ts:2: nobody takes third from here"),
    ]);
  });

  it.each([
    ["a test", "daemons/a/x.test.ts", 'import { y } from "./x.ts";'],
    ["a whole file", "daemons/b/z.ts", 'import * as x from "../a/x.ts";'],
    ["a late import", "daemons/b/z.ts", 'const { y } = await import("../a/x.ts");'],
    ["the type of one", "daemons/b/z.ts", 'type Y = typeof import("../a/x.ts");'],
    ["a name given anew", "daemons/b/z.ts", 'import { y as z } from "../a/x.ts";'],
  ])("takes %s for a use", (_, path, text) => {
    expect(exportFindings(house({ "daemons/a/x.ts": "export const y = 1;", [path]: text }))).toEqual([]);
  });

  it("follows what is handed on whole, and leaves what tools read by its name", () => {
    expect(
      exportFindings(
        house({
          "daemons/a/x.ts": "export const y = 1;",
          "daemons/a/all.ts": 'export * from "./x.ts";',
          "daemons/a/z.ts": 'import { y } from "./all.ts";',
          "vitest.config.ts": "export default {};",
        }),
      ),
    ).toEqual([]);
  });
});

describe("testing/", () => {
  it("is for tests and benchmarks", () => {
    const found = testingFindings(
      house({
        "daemons/a/x.ts": 'import "./testing/twin.ts";',
        "image/x.ts": 'import type { A } from "#lib/testing/sockets";',
        "daemons/a/x.test.ts": 'import "./testing/twin.ts";',
        "daemons/a/testing/other.ts": 'import "./twin.ts";',
        "qemu/bench/x.ts": 'import "#lib/testing/sockets";',
      }),
    );
    expect(problems(found)).toEqual([
      expect.stringContaining("daemons/a/x.ts:1: production imports ./testing/twin.ts: move"),
      expect.stringContaining("image/x.ts:1: production imports #lib/testing/sockets"),
    ]);
  });
});

describe("folders", () => {
  const folder = (count: number, name: string) =>
    house(Object.fromEntries(Array.from({ length: count }, (_, index) => [`daemons/a/${name}${index}.ts`, ""])));

  it("hold 25 production files side by side", () => {
    expect(
      folderFindings([...folder(25, "x"), ...folder(9, "testing/x"), ...house({ "daemons/a/x.test.ts": "" })]),
    ).toEqual([]);
    expect(folderFindings(folder(26, "x"))).toMatchObject([
      { path: "daemons/a", problem: expect.stringContaining("26") },
    ]);
  });
});

describe("rooms", () => {
  const room = {
    "daemons/a/r/index.ts": '/** What is in it. Who may come in. */\nexport { x } from "./x.ts";',
    "daemons/a/r/x.ts": "export const x = 1;",
  };

  it.each([
    ["daemons/a/main.ts", 'import { x } from "./r/x.ts";', "import it from daemons/a/r/index.ts"],
    ["daemons/a/s/y.ts", 'import type { x } from "../r/x.ts";', "import it from daemons/a/r/index.ts"],
    ["daemons/a/s/y.ts", 'export { x } from "../r/x.ts";', "import it from daemons/a/r/index.ts"],
    ["ci/reference.ts", 'import { x } from "../daemons/a/r/x.ts";', "import it from daemons/a/r/index.ts"],
    ["daemons/a/r/y.ts", 'import { x } from "./index.ts";', "import the file that has it"],
    ["daemons/a/r/inner/y.ts", 'import { x } from "../index.ts";', "import the file that has it"],
  ])("%s does not say %s", (path, text, problem) => {
    expect(roomFindings(house({ ...room, [path]: text }))).toMatchObject([
      { path, line: 1, problem: expect.stringContaining(problem) },
    ]);
  });

  it.each([
    ["daemons/a/main.ts", 'import { x } from "./r/index.ts";'],
    ["daemons/a/main.ts", 'const { x } = await import("./r/x.ts");'],
    ["daemons/a/x.test.ts", 'import { x } from "./r/x.ts";'],
    ["daemons/a/testing/twin.ts", 'import { x } from "../r/x.ts";'],
    ["daemons/a/r/y.ts", 'import { x } from "./x.ts";'],
    ["daemons/a/r/inner/y.ts", 'import { x } from "../x.ts";'],
  ])("%s says %s", (path, text) => {
    expect(roomFindings(house({ ...room, [path]: text }))).toEqual([]);
  });

  it("have doors of their own within another", () => {
    const inner = {
      "daemons/a/r/in/y.ts": 'import "../x.ts";',
      "daemons/a/r/in/z.ts": 'import "./y.ts";',
      "daemons/a/r/in/index.ts": "/** A. B. */",
    };
    const from = (path: string, specifier: string) =>
      problems(roomFindings(house({ ...room, ...inner, [path]: `import "${specifier}";` })));
    const problem = [expect.stringContaining("import it from daemons/a/r/in/index.ts")];
    expect(from("daemons/a/main.ts", "./r/in/y.ts")).toEqual(problem);
    expect(from("daemons/a/main.ts", "./r/in/index.ts")).toEqual([]);
    expect(from("daemons/a/r/q.ts", "./in/y.ts")).toEqual(problem);
    expect(from("daemons/a/r/q.ts", "./in/index.ts")).toEqual([]);
  });

  it("has the catalogue for one, whose namespaces are none", () => {
    const from = (path: string, specifier: string) =>
      problems(
        roomFindings(
          house({
            "daemons/tools/catalogue/index.ts": '/** A. B. */\nimport "./git/index.ts";',
            "daemons/tools/catalogue/git/index.ts": "",
            "daemons/tools/catalogue/fs/write.ts": "",
            [path]: `import "${specifier}";`,
          }),
        ),
      );
    expect(from("daemons/tools/catalogue/git/x.ts", "../fs/write.ts")).toEqual([]);
    expect(from("daemons/tools/tools.ts", "./catalogue/fs/write.ts")).toEqual([
      expect.stringContaining("import it from daemons/tools/catalogue/index.ts"),
    ]);
  });

  it("say at their index what is in them and who may come in", () => {
    for (const head of ["", "/** One sentence. */", "// What is in it. Who may come in."]) {
      const text = `${head}\nexport { x } from "./x.ts";`;
      expect(roomFindings(house({ ...room, "daemons/a/r/index.ts": text })), head).toMatchObject([
        { problem: expect.stringContaining("two sentences") },
      ]);
    }
  });

  it("are neither single files, nor the library's and the kernel's folders, nor aiosctl's commands", () => {
    expect(
      roomFindings(
        house({
          "daemons/a/main.ts": 'import "./r/x.ts"; import "#lib/rpc/client"; import "#kernel/inner/x";',
          "daemons/a/r/x.ts": "",
          "daemons/lib/rpc/client.ts": 'import "./server.ts";',
          "daemons/lib/rpc/server.ts": "",
          "daemons/kernel/inner/x.ts": "",
          "daemons/kernel/inner/y.ts": "",
          "daemons/ctl/commands.ts": 'import "./commands/boot.ts"; import "./commands/goal/goal.ts";',
          "daemons/ctl/commands/boot.ts": "",
          "daemons/ctl/commands/logs.ts": "",
          "daemons/ctl/commands/goal/goal.ts": "",
          "daemons/ctl/commands/goal/follow.ts": "",
        }),
      ),
    ).toEqual([]);
  });
});
