import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  back,
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

  it("may have no working tree: its commits and branches are read", async () => {
    const url = bareRemote();
    await done("git.clone", { url });
    const { output } = await committed("a", "1");
    await done("git.push");
    expect((await done("git.log", { path: url })).output.commits).toMatchObject([{ id: output.commit }]);
    expect((await done("git.branch", { path: url, action: "list" })).output.branches).toHaveLength(1);
    expect(await call("git.init", { path: url })).toMatchObject({ error: expect.stringContaining("already") });
    expect(await call("git.status", { path: url })).toMatchObject({ error: expect.stringContaining("work tree") });
  });

  it("may be a submodule of a submodule, and of a further working tree", async () => {
    shell("git init -q deep; git -C deep commit -q --allow-empty -m 1; git init -q inner");
    shell("cd inner; git submodule -q add ../deep deep; git commit -qm 1; cd ..; git init -q repo; cd repo");
    shell("cd repo; git submodule -q add ../inner inner; git commit -qm 1; git worktree add -q ../tree");
    for (const outer of ["repo", "tree"]) {
      shell(`cd ${outer}; git submodule -q update --init --recursive`);
      for (const inside of ["inner", "inner/deep"])
        expect((await done("git.status", { path: `${work}/${outer}/${inside}` })).output.clean).toBe(true);
    }
    writeFileSync(`${work}/tree/inner/new`, "1");
    await done("git.add", { path: `${work}/tree/inner` });
    await done("git.commit", { path: `${work}/tree/inner`, message: "2" });
    expect((await done("git.add", { path: `${work}/tree` })).output).toEqual({ added: 1 });
    expect(await call("git.add", { files: ["nothing"] })).toMatchObject({ success: false });
  });

  it("may hold a conflict, whose files are told by name, and added once it is settled", async () => {
    shell("git init -q repo; cd repo; echo 1 >'a b'; git add .; git commit -qm 1; git switch -qc side; echo 2 >'a b'");
    shell(
      "cd repo; git commit -qam 2; git switch -q main; echo 3 >'a b'; git commit -qam 3; git merge -q side || true",
    );
    expect((await done("git.status")).output.files).toEqual([{ path: "a b", staged: "U", unstaged: "U" }]);
    write("a b", "3\n");
    const settled = await done("git.add");
    expect(await back(settled)).toMatchObject({ success: false, error: expect.stringContaining("held a conflict") });
    await done("git.commit", { message: "merged" });
    expect(shell("cd repo; git log -1 --format=%P").split(" ")).toHaveLength(2);
  });

  it("keeps messages as they were given, in any language, whatever it names as its encoding", async () => {
    await done("git.init");
    shell("cd repo; git config i18n.commitEncoding ISO-8859-1; git config i18n.logOutputEncoding ISO-8859-1");
    write("a", "1");
    await done("git.add");
    await done("git.commit", { message: "#42: größer\n\n# 磁盘\nwhy" });
    expect((await done("git.log")).output.commits).toMatchObject([{ subject: "#42: größer" }]);
    expect(execFileSync("git", ["-C", repo, "cat-file", "commit", "HEAD"]).toString()).toMatch(
      /größer\n\n# 磁盘\nwhy\n$/,
    );
    const nothing = await call("git.commit", { message: "again" });
    expect(nothing).toMatchObject({ success: false, error: expect.stringContaining("nothing is added") });
  });

  it("that borrows another's objects says so, rather than that it has none", async () => {
    shell("git init -q up; git -C up commit -q --allow-empty -m 1; git clone -q --shared up repo");
    for (const tool of ["git.log", "git.status"])
      expect(await call(tool)).toMatchObject({ error: expect.stringMatching(/borrows the objects in .*\/up/) });
  });

  it("keeps to its sparse checkout", async () => {
    shell("git init -q up; cd up; mkdir x y; echo 1 >x/a; echo 1 >y/b; git add .; git commit -qm 1; cd ..");
    shell("git clone -q --sparse up repo; cd repo; git sparse-checkout set x; echo 2 >x/a; echo 1 >x/new");
    expect((await done("git.add")).output).toEqual({ added: 2 });
    expect((await done("git.commit", { message: "2" })).output.branch).toBe("main");
    expect(shell("cd repo; git ls-files")).toBe("x/a\nx/new\ny/b\n");
  });

  it("is pushed to where it is pushed to, which may be another place than it is fetched from", async () => {
    const url = bareRemote();
    await done("git.clone", { url });
    shell("git init -q --bare other.git; git -C repo config remote.origin.pushurl $PWD/other.git");
    const { output } = await committed("a", "1");
    await done("git.push");
    expect(shell("git -C other.git rev-parse main").trim()).toBe(output.commit);
    shell("git -C repo config --add remote.origin.pushurl $PWD/remote.git");
    expect(await call("git.push")).toMatchObject({ error: expect.stringContaining("several places") });
  });

  it("may be another account's, as a remote too", async () => {
    const url = bareRemote();
    await done("git.clone", { url });
    shell("chown -R 1000:1000 remote.git");
    await committed("a", "1");
    await done("git.push");
    await done("git.pull");
    await done("git.clone", { url, path: `${work}/second` });
  });

  it.each([
    ["a pipe", "mkfifo", "is no file"],
    ["a device", "ln -s /dev/zero", "is no file"],
    ["a file without end", "truncate -s 2M", "is longer than"],
  ])("has %s where git keeps a path: that is said, and stops nobody", async (_, put, reason) => {
    await done("git.init");
    shell(`mkdir -p repo/.git/objects/info; ${put} repo/.git/objects/info/alternates`);
    expect(await call("git.status")).toMatchObject({ error: expect.stringContaining(`its alternates ${reason}`) });
    shell(`mkdir tree there; echo "gitdir: $PWD/there" >tree/.git; ${put} there/commondir`);
    const tree = { path: `${work}/tree` };
    expect(await call("git.status", tree)).toMatchObject({ error: expect.stringContaining(`its commondir ${reason}`) });
  });

  it("full of blanks where git keeps a path is read in a moment", async () => {
    const blanks = 500_000;
    mkdirSync(`${work}/tree`);
    mkdirSync(`${work}/there`);
    for (const [named, config] of [
      [`gitdir: a${" ".repeat(blanks)}\nb`, ""],
      [`gitdir: ${work}/there`, "\n".repeat(blanks)],
      [`gitdir: ${work}/there`, `worktree = a${" ".repeat(blanks)}"b`],
    ] as const) {
      writeFileSync(`${work}/tree/.git`, named);
      writeFileSync(`${work}/there/config`, config);
      const before = process.cpuUsage();
      expect(await call("git.status", { path: `${work}/tree` })).toMatchObject({ success: false });
      expect(process.cpuUsage(before).user / 1_000).toBeLessThan(2_000);
    }
  });
});
