import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Machine, startMachine } from "../harness.ts";

let machine: Machine;
let work: string;
let repo: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  repo = `${work}/repo`;
  mkdirSync(work);
});

afterEach(() => {
  vi.unstubAllEnvs();
  machine.close();
});

const call = (tool: string, input: object = {}) => machine.operator.call(tool, { path: repo, ...input });
const done = async (tool: string, input: object = {}) => {
  const answer = await call(tool, input);
  expect({ tool, error: answer.error }).toEqual({ tool, error: "" });
  return answer;
};
const back = ({ executionId }: { executionId: string }) => machine.operator.raw.rollback({ executionId, reason: "r" });
const ok = { success: true, error: "" };
const write = (name: string, text: string) => writeFileSync(`${repo}/${name}`, text);

/** Writes a file, adds and commits it. */
async function committed(name: string, text: string) {
  write(name, text);
  await done("git.add");
  return done("git.commit", { message: `write ${name}` });
}

/** A bare repository beside, as a remote. */
function bareRemote(): string {
  const remote = `${work}/remote.git`;
  execFileSync("git", ["init", "--quiet", "--bare", "--initial-branch=main", remote]);
  return remote;
}

describe("a repository", () => {
  it("git.init makes it with its folders, and its rollback takes both away, unless it holds commits", async () => {
    const init = await done("git.init", { path: `${work}/a/b` });
    expect(init.output).toEqual({ path: `${work}/a/b` });
    expect(await back(init)).toEqual(ok);
    expect(existsSync(`${work}/a`)).toBe(false);
    mkdirSync(repo);
    write("kept", "x");
    const second = await done("git.init");
    expect(await call("git.init")).toMatchObject({ success: false, error: expect.stringContaining("already") });
    expect(await back(second)).toEqual(ok);
    expect(execFileSync("ls", ["-A", repo]).toString()).toBe("kept\n");
    const third = await done("git.init");
    await committed("kept", "y");
    expect(await back(third)).toMatchObject({ success: false, error: expect.stringContaining("it holds commits") });
  });

  it("git.add, git.commit, git.status, git.log and git.diff tell one story", async () => {
    await done("git.init", { branch: "trunk" });
    expect((await done("git.log")).output).toEqual({ commits: [] });
    write("ä file", "one\n");
    expect((await done("git.status")).output).toEqual({
      branch: "trunk",
      commit: "",
      clean: false,
      files: [{ path: "ä file", staged: "", unstaged: "?" }],
    });
    expect((await done("git.add", { files: ["ä file"] })).output).toEqual({ added: 1 });
    const { output } = await done("git.commit", { message: "first\n\nwhy", author_name: "A. Person" });
    expect(output).toEqual({ commit: expect.stringMatching(/^[0-9a-f]{40}$/), branch: "trunk" });
    expect((await done("git.status")).output).toMatchObject({ clean: true, commit: output.commit });
    write("ä file", "two\n");
    expect((await done("git.diff")).output.diff).toContain("-one\n+two\n");
    expect((await done("git.diff", { staged: true })).output.diff).toBe("");
    await committed("other", "x");
    const { commits } = (await done("git.log", { limit: 5 })).output;
    expect(commits).toMatchObject([
      { author: "alice", email: "alice@aios.invalid", subject: "write other" },
      { author: "A. Person", subject: "first", id: output.commit, date: expect.any(Number) },
    ]);
    const between = { from: output.commit, to: commits[0].id, files: ["other"] };
    expect((await done("git.diff", between)).output.diff).toContain("+++ b/other");
    expect(await call("git.diff", { from: "nothing" })).toMatchObject({ success: false });
    expect(await call("git.commit", { message: "nothing" })).toMatchObject({ success: false });
  });

  it("takes commits and what was added back, the last first", async () => {
    await done("git.init");
    write("a", "1");
    const add = await done("git.add");
    const first = await done("git.commit", { message: "one" });
    const second = await committed("a", "2");
    expect(await back(first)).toMatchObject({ success: false, error: expect.stringContaining("other commits since") });
    expect(await back(add)).toMatchObject({ success: false, error: expect.stringContaining("committed since") });
    await machine.restart();
    for (const one of [second, first]) expect(await back(one)).toEqual(ok);
    expect((await done("git.status")).output.files).toEqual([{ path: "a", staged: "A", unstaged: "" }]);
    expect(readFileSync(`${repo}/a`, "utf8")).toBe("2");
    expect(await back(add)).toEqual(ok);
    expect((await done("git.status")).output.files).toEqual([{ path: "a", staged: "", unstaged: "?" }]);
  });

  it("git.branch makes, switches, deletes and lists branches, and back", async () => {
    await done("git.init");
    await committed("a", "1");
    const create = await done("git.branch", { action: "create", name: "side/one" });
    expect(create.output).toMatchObject({ current: "main", branches: [{ name: "main" }, { name: "side/one" }] });
    const change = await done("git.branch", { action: "switch", name: "side/one" });
    expect(change.output.current).toBe("side/one");
    await committed("b", "2");
    expect(await back(change)).toEqual(ok);
    expect((await done("git.branch", { action: "list" })).output.current).toBe("main");
    expect(await back(create)).toMatchObject({ success: false, error: expect.stringContaining("commits of its own") });
    const remove = await done("git.branch", { action: "delete", name: "side/one" });
    expect(remove.output.branches).toHaveLength(1);
    expect(await back(remove)).toEqual(ok);
    expect((await done("git.branch", { action: "list" })).output.branches).toHaveLength(2);
    expect(await call("git.branch", { action: "delete", name: "main" })).toMatchObject({ success: false });
    expect(await call("git.branch", { action: "switch" })).toMatchObject({ success: false });
  });

  it("git.clone, git.push and git.pull go to a remote and back", async () => {
    const url = bareRemote();
    const clone = await done("git.clone", { url });
    expect(clone.output).toEqual({ path: repo, commit: "" });
    const { output: one } = await committed("a", "1");
    expect(await back(clone)).toMatchObject({ success: false, error: expect.stringContaining("nowhere else") });
    expect((await done("git.push")).output).toEqual({ remote: "origin", branch: "main", commit: one.commit });
    const other = `${work}/new/other`;
    const second = await done("git.clone", { url: `file://${url}`, path: other, branch: "main", depth: 1 });
    expect(second.output.commit).toBe(one.commit);
    await committed("a", "2");
    await done("git.push", { remote: "origin", branch: "main" });
    const pull = await done("git.pull", { path: other });
    expect(pull.output).toMatchObject({ before: one.commit, updated: true });
    expect(readFileSync(`${other}/a`, "utf8")).toBe("2");
    expect((await done("git.pull", { path: other })).output.updated).toBe(false);
    expect(await back(pull)).toEqual(ok);
    expect(readFileSync(`${other}/a`, "utf8")).toBe("1");
    expect(await back(second)).toEqual(ok);
    expect(existsSync(`${work}/new`)).toBe(false);
    expect(await call("git.push", { remote: "upstream" })).toMatchObject({ success: false });
    await expect(back(await done("git.push"))).rejects.toThrow("who has fetched it since keeps it");
  });

  it("that diverged is neither overwritten nor merged", async () => {
    const url = bareRemote();
    await done("git.clone", { url });
    await committed("a", "1");
    await done("git.push");
    const other = `${work}/other`;
    await done("git.clone", { url, path: other });
    await committed("a", "2");
    await done("git.push");
    writeFileSync(`${other}/a`, "3");
    await done("git.add", { path: other });
    await done("git.commit", { path: other, message: "three" });
    expect(await call("git.push", { path: other })).toMatchObject({ success: false });
    expect(await call("git.pull", { path: other })).toMatchObject({ success: false });
    expect(readFileSync(`${other}/a`, "utf8")).toBe("3");
  });
});

describe("an ordinary repository", () => {
  it("is one whatever habits its configuration holds", async () => {
    await done("git.init");
    const habits = [
      "[core]\n\tautocrlf = input\n\tcommitGraph = false",
      "[pull]\n\trebase = true",
      '[branch "main"]\n\tvscode-merge-base = origin/main\n\tremote = origin',
      "[user]\n\tname = Ada Lovelace\n[lfs]\n\trepositoryformatversion = 0",
    ];
    writeFileSync(`${repo}/.git/config`, `${habits.join("\n")}\n`, { flag: "a" });
    write("a", "one\r\n");
    await done("git.add");
    await done("git.commit", { message: "one" });
    expect(execFileSync("git", ["-C", repo, "show", "HEAD:a"]).toString()).toBe("one\n");
  });

  it("may be a further working tree, or a submodule", async () => {
    const git = (...args: string[]) =>
      execFileSync("git", ["-c", "protocol.file.allow=always", ...args], { stdio: "ignore" });
    await done("git.init");
    await committed("a", "1");
    git("-C", repo, "worktree", "add", `${work}/tree`);
    writeFileSync(`${work}/tree/b`, "2");
    await done("git.add", { path: `${work}/tree` });
    const { output } = await done("git.commit", { path: `${work}/tree`, message: "of the tree" });
    expect(output.branch).toBe("tree");
    const outer = `${work}/outer`;
    git("init", "--quiet", outer);
    git("-C", outer, "submodule", "add", repo, "inner");
    expect((await done("git.status", { path: `${outer}/inner` })).output).toMatchObject({
      clean: true,
      branch: "main",
    });
  });
});

describe("git.clone", () => {
  it("brings no more than it may, and leaves nothing of what was too much", async () => {
    const url = bareRemote();
    await done("git.clone", { url });
    writeFileSync(`${repo}/large`, randomBytes(3 * 2 ** 20));
    await done("git.add");
    await done("git.commit", { message: "large" });
    await done("git.push");
    const into = { url, path: `${work}/new/copy` };
    expect(await call("git.clone", { ...into, max_mb: 1 })).toMatchObject({
      success: false,
      error: expect.stringContaining("larger than 1 MiB"),
    });
    expect(existsSync(`${work}/new`)).toBe(false);
    expect(await call("git.clone", { ...into, max_mb: 100 })).toMatchObject({ success: true });
    expect(await call("git.clone", { url })).toMatchObject({ error: expect.stringContaining("not empty") });
    expect(existsSync(`${repo}/large`)).toBe(true);
  });

  it.each([
    "http://127.0.0.1:1/x.git",
    "https://[::ffff:127.0.0.1]/x",
    "git://169.254.169.254/x",
    "http://localhost:1/x",
  ])("of %s needs what every tool needs to connect there", async (url) => {
    const agent = machine.agent("task");
    const capabilities = [`git:write:${repo}`, "git:remote:**"];
    await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });
    expect(await agent.call("git.clone", { url, path: repo })).toMatchObject({
      success: false,
      error: expect.stringContaining("is not on the public network"),
    });
  });

  it.each(["git@example.org:a/b.git", "ssh://git@example.org/a/b.git"])(
    "of %s tells what ssh lacks, before anybody is asked",
    async (url) => {
      const agent = machine.agent("task");
      const capabilities = [`git:write:${repo}`, "git:remote:**"];
      await machine.core.call("sec.grant", {
        agent_id: "task",
        capabilities,
        reason: "r",
        task_id: "t",
        ask: "everything",
      });
      await expect(agent.call("git.clone", { url, path: repo }, { taskId: "t" })).rejects.toThrow("security/git/key");
      expect((await machine.operator.call("sec.approvals")).output.waiting).toEqual([]);
    },
  );
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
    '[filter "x"]\n\tclean = TRAP',
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
    write(".gitattributes", "* filter=x diff=x merge=x\n");
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

describe("an agent", () => {
  it("needs a grant for the repository and one for the remote, by where it really is", async () => {
    const url = bareRemote();
    symlinkSync(url, `${work}/link.git`);
    const grant = async (...capabilities: string[]) => {
      const granted = await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });
      expect(granted.error).toBe("");
    };
    const agent = machine.agent("task");
    const clone = () => agent.call("git.clone", { url: `${work}/link.git`, path: repo });
    await expect(clone()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await grant(`git:write:${repo}`, `git:read:${repo}`, `git:remote:${work}/link.git`);
    expect(await clone()).toMatchObject({ success: false, error: expect.stringContaining(`git:remote:${url}`) });
    await grant(`git:remote:${url}`);
    expect(await clone()).toMatchObject({ success: true });
    expect(await agent.call("git.status", { path: repo })).toMatchObject({ output: { branch: "main", clean: true } });
  });
});
