import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { expect, it } from "vitest";
import { confined, writeFilters } from "./confinement.ts";
import { seccompFilter } from "./seccomp.ts";

const rules = (argv: readonly string[]) =>
  argv.flatMap((word) => (word.startsWith("--landlock-rule=path-beneath:") ? [word.slice(29)] : []));

it("a process is held by what setpriv makes of its words: qemu/tests/reach.test.ts sees that they hold", () => {
  const account = { uid: 7, gid: 8 };
  const holding = { account, system: true, reads: ["/proc/version"], writes: ["/keep"], listens: ["/s"] };
  const argv = confined(["/usr/bin/node", "x.mjs"], { ...holding, sockets: "any" }, "/run/aios");
  expect(argv.slice(0, 8)).toEqual([
    "/usr/bin/setpriv",
    ...["--reuid=7", "--regid=8", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"],
    "--landlock-access=fs",
  ]);
  expect(argv.slice(-4)).toEqual(["--seccomp-filter=/run/aios/sockets-any.seccomp", "--", "/usr/bin/node", "x.mjs"]);
  expect(rules(argv)).toEqual(
    expect.arrayContaining([
      "read-file,read-dir:/usr",
      "read-file,read-dir:/etc",
      "read-file:/proc/version",
      "read-file,write-file:/dev",
      "read-file,read-dir,write-file,make-sock,remove-file:/s",
      "read-file,read-dir,write-file,make-sock,remove-file,make-reg,make-dir,remove-dir,refer,truncate:/keep",
    ]),
  );
});

it("executes its own program and the linker, and nothing else", () => {
  const argv = confined(
    ["/usr/bin/node", "x.mjs"],
    { sockets: "none", system: false, reads: ["/m.gguf"], writes: [], listens: [] },
    "/run/aios",
  );
  const executes = rules(argv).filter((rule) => rule.startsWith("execute"));
  expect(executes).toEqual(["execute,read-file:/usr/bin/node", "execute,read-file:/lib64/ld-linux-x86-64.so.2"]);
  expect(argv.some((word) => word.startsWith("--reuid"))).toBe(false);
  expect(rules(argv).some((rule) => rule.endsWith(":/usr") || rule.endsWith(":/etc"))).toBe(false);
});

it("the filters lie where setpriv is told to find them, readable by whoever starts a program", () => {
  const run = mkdtempSync("/tmp/aios-filters-");
  writeFilters(run);
  for (const sockets of ["any", "unix", "none"] as const) {
    const path = `${run}/sockets-${sockets}.seccomp`;
    expect(readFileSync(path)).toEqual(seccompFilter(sockets));
    expect(statSync(path).mode & 0o777).toBe(0o644);
  }
  rmSync(run, { recursive: true });
});

it("starts beside its own program what it is given, and sets what is its children's", () => {
  const holding = { sockets: "any", system: false, reads: [], writes: [], listens: [] } as const;
  const argv = confined(
    ["/usr/bin/node"],
    { ...holding, executes: ["/usr/bin/prlimit"], setsChildren: true },
    "/run/aios",
  );
  expect(rules(argv)).toEqual(expect.arrayContaining(["execute,read-file:/usr/bin/prlimit", "write-file:/proc"]));
});
