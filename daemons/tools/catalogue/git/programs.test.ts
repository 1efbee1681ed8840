import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  bareRemote,
  call,
  committed,
  done,
  eachWithRepository,
  repo,
  shell,
  work,
  write,
} from "../../testing/repository.ts";

eachWithRepository();

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("what could run a program", () => {
  /** A program that leaves a mark when it runs. */
  function trap(): { program: string; sprung: () => boolean } {
    const program = `${work}/trap`;
    writeFileSync(program, `#!/bin/sh\necho > ${work}/sprung\nexit 1\n`);
    chmodSync(program, 0o755);
    return { program, sprung: () => existsSync(`${work}/sprung`) };
  }

  it("is no hook, and nothing in the daemon's environment", async () => {
    const { program, sprung } = trap();
    writeFileSync(`${work}/config`, `[core]\n\tfsmonitor = ${program}\n[diff]\n\texternal = ${program}\n`);
    vi.stubEnv("GIT_CONFIG_GLOBAL", `${work}/config`);
    vi.stubEnv("GIT_EXTERNAL_DIFF", program);
    vi.stubEnv("GIT_SSH_COMMAND", program);
    vi.stubEnv("GIT_DIR", `${work}/elsewhere`);
    await done("git.init");
    for (const hook of [
      "pre-commit",
      "commit-msg",
      "post-commit",
      "pre-push",
      "post-checkout",
      "reference-transaction",
    ]) {
      mkdirSync(`${repo}/.git/hooks`, { recursive: true });
      symlinkSync(program, `${repo}/.git/hooks/${hook}`);
    }
    await committed("a", "1");
    write("a", "2");
    await done("git.diff");
    await done("git.status");
    await done("git.branch", { action: "create", name: "b" });
    expect(sprung()).toBe(false);
  });

  it.each([
    "[core]\n\tfsmonitor = TRAP",
    "[core]\n\tsshCommand = TRAP",
    "[core]\n\tworktree = /",
    "[diff]\n\texternal = TRAP",
    '[remote "origin"]\n\tuploadpack = TRAP',
    '[url "ext::TRAP"]\n\tinsteadOf = /',
    "[include]\n\tpath = /etc/passwd",
    "[alias]\n\tstatus = !TRAP",
    "[gpg]\n\tprogram = TRAP",
    "[core]\n\talternateRefsCommand = TRAP",
    '[merge "x"]\n\tdriver = TRAP',
    '[diff "x"]\n\ttextconv = TRAP\n\tcommand = TRAP',
    "[core]\n\tpager = TRAP\n\teditor = TRAP\n\taskPass = TRAP\n\thooksPath = /srv",
    "[credential]\n\thelper = !TRAP",
  ])("in a repository's configuration has no say: %s", async (section) => {
    const { program, sprung } = trap();
    await done("git.init");
    await committed("a", "1");
    write(".gitattributes", "* diff=x merge=x\n");
    writeFileSync(`${repo}/.git/config`, `${section.replaceAll("TRAP", program)}\n`, { flag: "a" });
    write("a", "2");
    for (const tool of ["git.status", "git.diff", "git.add"]) await done(tool);
    await done("git.commit", { message: "two" });
    expect((await done("git.status")).output).toMatchObject({ clean: true, branch: "main" });
    await done("git.branch", { action: "create", name: "b" });
    await done("git.branch", { action: "delete", name: "b" });
    expect(await call("git.pull")).toMatchObject({ success: false });
    expect(sprung()).toBe(false);
  });

  it("is no filter: a file that one is to change is not kept as it is", async () => {
    const { program, sprung } = trap();
    await done("git.init");
    write(".gitattributes", "*.secret filter=crypt\n*.bin filter=lfs diff=lfs merge=lfs -text\nplain.bin !filter\n");
    writeFileSync(`${repo}/.git/config`, `[filter "crypt"]\n\tclean = ${program}\n`, { flag: "a" });
    for (const name of ["a.secret", "b.bin", "plain.bin", "c"]) write(name, "x");
    for (const [files, filter] of [
      [["a.secret"], "crypt"],
      [["b.bin"], "lfs"],
      [[], "crypt"],
    ] as const)
      expect(await call("git.add", { files })).toMatchObject({
        success: false,
        error: expect.stringContaining(`the filter "${filter}"`),
      });
    expect((await done("git.add", { files: ["plain.bin", "c", ".gitattributes"] })).output).toEqual({ added: 3 });
    expect(sprung()).toBe(false);
  });

  it("is no filter of a submodule", async () => {
    const { program, sprung } = trap();
    shell("git init -q inner; cd inner; echo 1 >a; echo '* filter=x' >.gitattributes; git add .; git commit -qm 1");
    shell("git init -q repo; cd repo; git submodule -q add ../inner inner; git commit -qm 1");
    shell(`git -C repo/inner config filter.x.clean ${program}; echo 2 >repo/inner/a; chmod -R a+rwX .`);
    for (const tool of ["git.status", "git.diff", "git.add"]) await done(tool);
    await call("git.commit", { message: "x" });
    expect(sprung()).toBe(false);
  });

  it("does not get in while a call runs", async () => {
    await done("git.init");
    const program = `${repo}/trap`;
    writeFileSync(program, `#!/bin/sh\necho >${repo}/sprung\n`);
    chmodSync(program, 0o755);
    const config = readFileSync(`${repo}/.git/config`, "utf8");
    mkdirSync(`${repo}/.git/info`, { recursive: true });
    let calling = true;
    const swapping = (async () => {
      for (let turn = 0; calling; turn += 1) {
        const filter = `[filter "x"]\n\tclean = ${program}\n`;
        writeFileSync(`${work}/config`, turn % 2 === 0 ? `${config}${filter}` : config);
        renameSync(`${work}/config`, `${repo}/.git/config`);
        writeFileSync(`${repo}/.git/info/attributes`, turn % 2 === 0 ? "* filter=x\n" : "");
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let turn = 0; turn < 15; turn += 1) {
      for (let file = 0; file < 20; file += 1) write(`f${file}`, `${turn}`);
      await call("git.add");
    }
    calling = false;
    await swapping;
    expect(existsSync(`${repo}/sprung`)).toBe(false);
  });

  it("is no hook of a repository that is pushed to", async () => {
    const { program, sprung } = trap();
    const url = bareRemote();
    for (const hook of ["pre-receive", "update", "post-receive", "post-update"])
      symlinkSync(program, `${url}/hooks/${hook}`);
    await done("git.clone", { url });
    await committed("a", "1");
    await done("git.push");
    expect(sprung()).toBe(false);
  });

  it("is not reached by a .git that leads elsewhere", async () => {
    mkdirSync(repo);
    expect(await call("git.status")).toMatchObject({ error: expect.stringContaining("make one with git.init") });
    execFileSync("git", ["init", "--quiet", `${work}/other`]);
    writeFileSync(`${repo}/.git`, `gitdir: ${work}/other/.git\n`);
    expect(await call("git.status")).toMatchObject({ error: expect.stringContaining("does not belong to it") });
    rmSync(`${repo}/.git`);
    symlinkSync(`${work}/other/.git`, `${repo}/.git`);
    expect(await call("git.status")).toMatchObject({ error: expect.stringContaining("not a folder") });
    rmSync(`${repo}/.git`);
    execFileSync("git", ["init", "--quiet", repo]);
    rmSync(`${repo}/.git/objects`, { recursive: true });
    symlinkSync(`${work}/other/.git/objects`, `${repo}/.git/objects`);
    expect(await call("git.status")).toMatchObject({ success: false });
  });

  it.each([
    ["git.clone", { url: "ext::sh -c id" }],
    ["git.clone", { url: "--upload-pack=id" }],
    ["git.clone", { url: "ssh://-oProxyCommand=id/x" }],
    ["git.diff", { from: "--output=/tmp/x" }],
    ["git.log", { revision: "--all" }],
    ["git.add", { files: ["/etc/passwd"] }],
    ["git.add", { files: ["a/../../b"] }],
    ["git.add", { files: [".git/config"] }],
    ["git.branch", { action: "create", name: "--force" }],
    ["git.branch", { action: "create", name: "a..b" }],
    ["git.push", { remote: "--mirror" }],
    ["git.commit", { message: "m", author_name: "a <b>" }],
  ])("is not smuggled in by %s %j", async (tool, input) => {
    await done("git.init");
    const answer = await call(tool, { path: tool === "git.clone" ? `${work}/clone` : repo, ...input }).catch(
      (error: unknown) => error,
    );
    expect(answer).toMatchObject(
      answer instanceof Error
        ? { code: "INVALID_ARGUMENT" }
        : { success: false, error: expect.stringContaining("URL") },
    );
  });
});
