import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  back,
  bareRemote,
  call,
  committed,
  done,
  eachWithRepository,
  machine,
  ok,
  repo,
  work,
  write,
} from "../../testing/repository.ts";

eachWithRepository();

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

  it("git.push, git.pull, git.init and git.commit ask nobody about what cannot be done", async () => {
    const agent = machine.agent("task");
    const capabilities = [`git:write:${repo}`, "git:remote:**"];
    const grant = { agent_id: "task", capabilities, reason: "r", task_id: "t", ask: "everything" };
    const tell = async (tool: string, input: object = {}) => {
      await machine.core.call("sec.grant", grant);
      return agent.call(tool, { path: repo, ...input }, { taskId: "t" }).then(
        ({ error }) => error,
        (error: Error) => error.message,
      );
    };
    execFileSync("git", ["clone", "--quiet", bareRemote(), repo], { stdio: "ignore" });
    expect(await tell("git.push")).toContain("with commits");
    expect(await tell("git.init")).toContain("it is a repository already");
    expect(await tell("git.commit", { message: "m" })).toContain("nothing is added");
    expect(await tell("git.pull", { remote: "none" })).toContain("no remote none");
    await committed("a", "x");
    expect(await tell("git.push", { branch: "none" })).toContain("no branch none");
    execFileSync("git", ["-C", repo, "remote", "set-url", "origin", "git@example.org:a/b.git"]);
    for (const tool of ["git.push", "git.pull"]) expect(await tell(tool)).toContain("security/git/key");
    expect((await machine.operator.call("sec.approvals")).output.waiting).toEqual([]);
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

  it("is granted a remote as it is compared, however it is written", async () => {
    const url = `file://${bareRemote()}/`;
    const agent = machine.agent("task");
    const clone = async (remote: string, path: string) => {
      const capabilities = [`git:write:${path}`, `git:remote:${remote}`];
      await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });
      return agent.call("git.clone", { url: remote, path });
    };
    expect(await clone(url, `${work}/one`)).toMatchObject({ success: true });
    const web = await clone("http://LocalHost:1/x/./y.git", `${work}/two`);
    expect(web.error).toContain("is not on the public network");
  });
});
