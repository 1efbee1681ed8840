import * as Type from "typebox";
import { reads, type Tool } from "../../tool.ts";
import { absolutePath, object, timestamp } from "../shared/index.ts";
import { commitAt, gitFailed, openRepository, revision } from "./repository.ts";

const commitsMax = 500;
const entriesMax = 5_000;
const diffMaxBytes = 1024 * 1024;

export const relativePaths = Type.Array(
  Type.String({
    pattern: "^(?!/)(?!(.*/)?\\.\\.(/|$))(?!(.*/)?\\.git(/|$))[^\\x00]{1,4096}$",
    description: "a path inside the repository",
  }),
  { maxItems: 1_000 },
);

const facts = {
  timeoutMs: 30_000,
  resources: { path: "path" },
  capabilities: ["git:read:{path}"],
} as const;

const status = reads({
  ...facts,
  name: "git.status",
  summary: "Tells a repository's branch and what was changed in it since the last commit, at most 5,000 files.",
  input: object({ path: absolutePath }),
  output: object({
    branch: Type.String({ description: "empty when a commit is checked out, not a branch" }),
    commit: Type.String({ description: "empty before the first" }),
    clean: Type.Boolean(),
    files: Type.Array(
      object({
        path: Type.String(),
        staged: Type.String({ description: 'how it differs from the last commit in what is added: "M", "A", "D", …' }),
        unstaged: Type.String({ description: 'how it differs from what is added: "M", "D", or "?" when it is new' }),
      }),
    ),
  }),
  run: async ({ resources: { path }, signal }) => {
    const options = { signal, env: { GIT_OPTIONAL_LOCKS: "0" } };
    const repository = await openRepository(path.path, signal, "read");
    const what = ["--porcelain=v2", "--branch", "--no-renames", withoutSubmodules, "-z"];
    const text = await repository.git(["status", ...what], options);
    const lines = text.split("\0");
    const fact = (name: string) => lines.find((line) => line.startsWith(`# branch.${name} `))?.split(" ")[2] ?? "";
    const [branch, commit] = [fact("head"), fact("oid")];
    const files = lines.flatMap((line) => {
      // A file in conflict has two more words: the mode and content of a third side.
      const [, plain, conflict, changed] = /^(?:[12] (..) (?:\S+ ){6}|u (..) (?:\S+ ){8})(.*)$/s.exec(line) ?? [];
      const [staged, unstaged] = plain ?? conflict ?? "";
      if (changed !== undefined) return [{ path: changed, staged: word(staged), unstaged: word(unstaged) }];
      return line.startsWith("? ") ? [{ path: line.slice(2), staged: "", unstaged: "?" }] : [];
    });
    return {
      branch: branch === "(detached)" ? "" : branch,
      commit: commit === "(initial)" ? "" : commit,
      clean: files.length === 0,
      files: files.slice(0, entriesMax),
    };
  },
});

/** A submodule is its commit: what is changed in it is its own repository's affair, which another git would have to look at. */
const withoutSubmodules = "--ignore-submodules=dirty";

const word = (letter: string | undefined) => (letter === undefined || letter === "." ? "" : letter);

const log = reads({
  ...facts,
  name: "git.log",
  summary: "Lists the commits of a repository, the latest first, 50 unless told otherwise.",
  input: object({
    path: absolutePath,
    revision: Type.Optional(revision),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: commitsMax })),
  }),
  output: object({
    commits: Type.Array(
      object({
        id: Type.String(),
        author: Type.String(),
        email: Type.String(),
        date: timestamp,
        subject: Type.String(),
      }),
    ),
  }),
  run: async ({ input: { revision: from = "HEAD", limit = 50 }, resources: { path }, signal }) => {
    const repository = await openRepository(path.path, signal, "read");
    if (from === "HEAD" && (await commitAt(repository, { signal })) === undefined) return { commits: [] };
    const format = "--format=%H%x00%an%x00%ae%x00%at%x00%s";
    const text = await repository.git(["log", "-z", format, `-${limit}`, "--end-of-options", from, "--"], { signal });
    const words = text.split("\0");
    const commits = [];
    for (let at = 0; at + 4 < words.length; at += 5) {
      const [id = "", author = "", email = "", seconds = "0", subject = ""] = words.slice(at, at + 5);
      commits.push({ id, author, email, date: Math.max(0, Number(seconds)) * 1000, subject });
    }
    return { commits };
  },
});

const diff = reads({
  ...facts,
  name: "git.diff",
  summary: "Shows what was changed: against what is added, of what is added, or between two commits; at most 1 MiB.",
  input: object({
    path: absolutePath,
    staged: Type.Optional(Type.Boolean({ description: "what is added, against the last commit" })),
    from: Type.Optional(revision),
    to: Type.Optional(revision),
    files: Type.Optional(relativePaths),
  }),
  output: object({ diff: Type.String(), truncated: Type.Boolean() }),
  run: async ({ input: { staged = false, from, to, files = [] }, resources: { path }, signal }) => {
    const repository = await openRepository(path.path, signal, "read");
    const revisions = [from, to].filter((one) => one !== undefined);
    const plain = ["--no-ext-diff", "--no-textconv", "--no-color", withoutSubmodules];
    const what = [...plain, ...(staged ? ["--cached"] : [])];
    const options = { signal, stdoutMaxBytes: diffMaxBytes, env: { GIT_OPTIONAL_LOCKS: "0" } };
    const argv = ["diff", ...what, "--end-of-options", ...revisions, "--", ...files];
    const result = await repository.ask(argv, options);
    if (result.exitCode !== 0) throw gitFailed(argv, result);
    return { diff: result.stdout, truncated: result.truncated };
  },
});

export const gitReads: readonly Tool[] = [status, log, diff];
