import { existsSync, lstatSync } from "node:fs";
import * as Type from "typebox";
import { timeoutSignal } from "#lib/clock";
import type { Identity } from "#lib/rpc/service";
import { cut } from "#lib/text";
import { changes, type Tool, type ToolCall, type Undo } from "../../tool.ts";
import { absolutePath, object } from "../shared/index.ts";
import { relativePaths } from "./reads.ts";
import {
  branchName,
  commitAt,
  currentBranch,
  gitFailed,
  openRepository,
  type Repository,
  refused,
  revision,
} from "./repository.ts";

const facts = {
  risk: "low",
  timeoutMs: 60_000,
  idempotent: false,
  resources: { path: "path" },
  capabilities: ["git:write:{path}"],
} as const;

type Call<Input> = ToolCall<Input, { path: "path" }>;

/** An undo starts with the repository as it is now, within a minute. */
const opened = (path: string) => openRepository(path, timeoutSignal(60_000));
const undoing = () => ({ signal: timeoutSignal(60_000) });

interface AddPlan {
  readonly path: string;
  /** The tree that stood in the index, "" when it held a conflict; restored when the last commit is still the same. */
  readonly tree: string;
  readonly head: string;
}

const add = changes({
  ...facts,
  name: "git.add",
  summary:
    "Adds files and folders, as they are now, to what the next commit will hold; without names, all that changed.",
  input: object({ path: absolutePath, files: Type.Optional(relativePaths) }),
  output: object({ added: Type.Integer({ description: "files that the next commit changes" }) }),
  idempotent: true,
  undo: {
    prepare: async ({ resources: { path }, signal }: Call<unknown>): Promise<AddPlan> => {
      const repository = await openRepository(path.path, signal);
      const conflicts = await repository.git(["ls-files", "--unmerged", "-z"], { signal });
      const tree = conflicts === "" ? (await repository.git(["write-tree"], { signal })).trim() : "";
      return { path: path.path, tree, head: (await commitAt(repository, { signal })) ?? "" };
    },
    restore: async ({ path, tree, head }) => {
      const repository = await opened(path);
      if (((await commitAt(repository, undoing())) ?? "") !== head) {
        throw refused(path, "what was added was committed since", "roll the commit back first");
      }
      if (tree === "") throw refused(path, "it held a conflict, which adding files has settled", "merge once more");
      await repository.git(["read-tree", tree], undoing());
    },
  },
  run: async ({ input: { files }, resources: { path }, signal }) => {
    const repository = await openRepository(path.path, signal);
    const changed = await changedFiles(repository, files ?? [], signal);
    await checkFilters(repository, changed, signal);
    // Not by "git add", which asks every submodule's own git what was changed in it.
    const adding = [
      "update-index",
      "--add",
      "--remove",
      "--replace",
      "--ignore-skip-worktree-entries",
      "-z",
      "--stdin",
    ];
    await repository.git(adding, { signal, input: changed.map((name) => `${name}\0`).join("") });
    const staged = await repository.git(["diff", "--cached", "--name-only", "--no-renames", "-z"], { signal });
    return { added: staged.split("\0").length - 1 };
  },
});

const namesMaxBytes = 64 * 2 ** 20;

/** The files that differ from what was added, new ones among them: all, or those below `files`, which must be there. */
async function changedFiles(
  repository: Repository,
  files: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const listing = (...what: string[]) => ["ls-files", "-z", "--others", "--exclude-standard", ...what, "--", ...files];
  if (files.length > 0) await repository.git(listing("--cached", "--error-unmatch"), { signal });
  const options = { signal, stdoutMaxBytes: namesMaxBytes };
  const listed = await repository.ask(listing("--modified", "--deduplicate"), options);
  if (listed.exitCode !== 0) throw gitFailed(["ls-files"], listed);
  if (listed.truncated) throw refused(repository.path, "it holds too many new files to add at once", "name some");
  // A repository within this one is listed as a folder.
  return listed.stdout.split("\0").flatMap((name) => (name === "" ? [] : [name.replace(/\/$/, "")]));
}

/** Refuses files that a filter is to change before they are kept, as it encrypts or moves them: no filter's program runs here. */
async function checkFilters(repository: Repository, files: readonly string[], signal: AbortSignal): Promise<void> {
  const kept = files.filter((name) => lstatSync(`${repository.path}/${name}`, { throwIfNoEntry: false })?.isFile());
  const options = { signal, input: kept.map((name) => `${name}\0`).join(""), stdoutMaxBytes: namesMaxBytes };
  const words = (await repository.git(["check-attr", "-z", "--stdin", "filter"], options)).split("\0");
  for (let at = 0; at + 2 < words.length; at += 3) {
    const [name = "", , filter = ""] = words.slice(at, at + 3);
    if (filter === "unspecified" || filter === "unset") continue;
    const reason = `${cut(name, 200)} goes through the filter ${JSON.stringify(cut(filter, 60))}, which runs a program`;
    throw refused(repository.path, reason, "name other files; a person adds this one with git itself");
  }
}

interface CommitPlan {
  readonly path: string;
  readonly before: string;
}

const commit = changes({
  ...facts,
  name: "git.commit",
  summary: "Commits what was added, with a message. Its rollback leaves the changes added.",
  input: object({
    path: absolutePath,
    message: Type.String({ minLength: 1, maxLength: 16_384 }),
    author_name: Type.Optional(Type.String({ pattern: "^[^<>\\x00-\\x1f]{1,200}$" })),
    author_email: Type.Optional(Type.String({ pattern: "^[^<>\\s\\x00-\\x1f]{1,200}$" })),
  }),
  output: object({ commit: Type.String(), branch: Type.String() }),
  undo: {
    prepare: async ({ resources: { path }, signal }: Call<unknown>): Promise<CommitPlan> => {
      const repository = await openRepository(path.path, signal);
      return { path: path.path, before: (await commitAt(repository, { signal })) ?? "" };
    },
    restore: async ({ path, before }) => {
      const repository = await opened(path);
      const now = (await commitAt(repository, undoing())) ?? "";
      if (now === before) return;
      if (((await commitAt(repository, undoing(), "HEAD~1")) ?? "") !== before) {
        throw refused(path, "there are other commits since", "roll those back first");
      }
      if (before === "") await repository.git(["update-ref", "-d", "HEAD", now], undoing());
      else await repository.git(["reset", "--quiet", "--soft", before], undoing());
    },
  },
  preview: async ({ input: { message }, resources: { path }, signal }) => {
    const repository = await openRepository(path.path, signal, "read");
    await checkAdded(repository, signal);
    const changed = await repository.git(["diff", "--cached", "--name-status", "--no-ext-diff"], { signal });
    return `commits ${JSON.stringify(message)} on ${(await currentBranch(repository, { signal })) || "no branch"}\n${changed.trim()}`;
  },
  run: async ({ input, resources: { path }, caller, signal }) => {
    const repository = await openRepository(path.path, signal);
    await checkAdded(repository, signal);
    // A line of the message may begin with "#".
    const message = ["commit", "--quiet", "--no-verify", "--cleanup=whitespace", "--file=-"];
    await repository.git(message, { signal, input: input.message, env: author(input, caller) });
    const made = (await commitAt(repository, { signal })) ?? "";
    return { commit: made, branch: await currentBranch(repository, { signal }) };
  },
});

async function checkAdded(repository: Repository, signal: AbortSignal): Promise<void> {
  const staged = await repository.ask(["diff", "--cached", "--quiet", "--no-ext-diff"], { signal });
  if (staged.exitCode !== 0 || existsSync(`${repository.gitDir}/MERGE_HEAD`)) return;
  throw refused(repository.path, "nothing is added that the last commit does not hold", "add it with git.add");
}

/** The author of a commit: whom the call names, or else who calls. */
function author(
  { author_name: name, author_email: email }: { author_name?: string; author_email?: string },
  caller: Identity,
) {
  const who = { name: name ?? caller.name, email: email ?? `${caller.name}@aios.invalid` };
  return {
    GIT_AUTHOR_NAME: who.name,
    GIT_AUTHOR_EMAIL: who.email,
    GIT_COMMITTER_NAME: who.name,
    GIT_COMMITTER_EMAIL: who.email,
  };
}

interface BranchPlan {
  readonly path: string;
  readonly name: string;
  /** The branch that was checked out, and the commit that `name` stood for: "" when there was none. */
  readonly head: string;
  readonly commit: string;
}

const branch = changes({
  ...facts,
  name: "git.branch",
  summary: "Lists the branches, makes one, checks one out, or deletes one that is not checked out.",
  input: object({
    path: absolutePath,
    action: Type.Enum(["list", "create", "switch", "delete"]),
    name: Type.Optional(branchName),
    from: Type.Optional(revision),
  }),
  output: object({
    current: Type.String({ description: "empty when a commit is checked out" }),
    branches: Type.Array(object({ name: Type.String(), commit: Type.String() })),
  }),
  undo: undoBranch(),
  run: async ({ input: { action, name = "", from = "HEAD" }, resources: { path }, signal }) => {
    const repository = await openRepository(path.path, signal);
    if (action !== "list" && name === "") throw refused(path.path, `${action} needs a branch's name`);
    if (action === "create") await repository.git(["branch", "--no-track", "--", name, from], { signal });
    if (action === "switch") await repository.git(["switch", "--quiet", "--no-guess", name], { signal });
    if (action === "delete") await repository.git(["branch", "--quiet", "-D", "--", name], { signal });
    return { current: await currentBranch(repository, { signal }), branches: await branches(repository, signal) };
  },
});

function undoBranch(): Undo<{ path: string; action: string; name?: string }, { path: "path" }, BranchPlan> {
  return {
    prepare: async ({ input: { action, name = "" }, resources: { path }, signal }) => {
      const repository = await openRepository(path.path, signal);
      const known = name === "" ? undefined : await commitAt(repository, { signal }, `refs/heads/${name}`);
      const head = action === "switch" ? await currentBranch(repository, { signal }) : "";
      return { path: path.path, name: action === "list" ? "" : name, head, commit: known ?? "" };
    },
    restore: async ({ path, name, head, commit }) => {
      if (name === "") return;
      const repository = await opened(path);
      const now = (await commitAt(repository, undoing(), `refs/heads/${name}`)) ?? "";
      if (head !== "") {
        if ((await currentBranch(repository, undoing())) === head) return;
        await repository.git(["switch", "--quiet", "--no-guess", head], undoing());
      } else if (commit === "" && now !== "") {
        const only = await repository.git(
          ["rev-list", "--max-count=1", now, "--not", "--exclude", name, "--branches"],
          undoing(),
        );
        if (only !== "") throw refused(path, `branch ${name} has commits of its own by now`, "roll those back first");
        await repository.git(["branch", "--quiet", "-D", "--", name], undoing());
      } else if (commit !== "" && now === "") {
        await repository.git(["branch", "--no-track", "--", name, commit], undoing());
      }
    },
  };
}

async function branches(repository: Repository, signal: AbortSignal): Promise<{ name: string; commit: string }[]> {
  const format = "--format=%(refname:lstrip=2) %(objectname)";
  const text = await repository.git(["for-each-ref", format, "--count=1000", "refs/heads/"], { signal });
  return text.split("\n").flatMap((line) => {
    const [name = "", commit = ""] = line.split(" ");
    return name === "" ? [] : [{ name, commit }];
  });
}

export const gitChanges: readonly Tool[] = [add, commit, branch];
