import * as Type from "typebox";
import { timeoutSignal } from "#lib/clock";
import { changes, type Tool } from "../../tool.ts";
import { absolutePath, type Confinement, object } from "../shared/index.ts";
import { accessTo, quietPeer, type RemoteAccess, type RemoteWorld } from "./remote-access.ts";
import {
  branchName,
  commitAt,
  currentBranch,
  openRepository,
  type Repository,
  refused,
  remoteName,
} from "./repository.ts";

export const urlField = Type.String({
  pattern: "^(/|https?://|ssh://|git://|file:///|[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:)[^\\s]",
  maxLength: 2048,
  description: "a repository's URL, or its absolute path on this machine",
});

const timeoutMs = 600_000;

const facts = {
  risk: "medium",
  timeoutMs,
  idempotent: true,
  resources: { path: "path" },
  capabilities: ["git:write:{path}"],
  alsoNeeds: ["git:remote:{url}", "net:local:{address}"],
} as const;

const input = object({
  path: absolutePath,
  remote: Type.Optional(remoteName),
  branch: Type.Optional(branchName),
});

const pushTool = (world: RemoteWorld) => {
  const sending = async (repository: Repository, given: Given, call: Parameters<typeof accessTo>[3]) => {
    const { signal } = call;
    const { remote, branch } = await target(repository, given, signal);
    const way = await accessTo(await urlOf(repository, remote, "push", signal), "change", world, call);
    const commit = await commitAt(repository, { signal }, `refs/heads/${branch}`);
    if (commit === undefined) throw refused(repository.path, `it has no branch ${branch} with commits`);
    return { way, remote, branch, commit };
  };
  return changes({
    ...facts,
    name: "git.push",
    summary: "Sends a branch, the one that is checked out unless told otherwise, to a remote. Never by force.",
    input,
    output: object({ remote: Type.String(), branch: Type.String(), commit: Type.String() }),
    irreversible: "who has fetched it since keeps it",
    confirmation: true,
    // Whether there is something to send, and a way, shows before anybody is asked.
    preview: async ({ input: given, resources: { path }, ...call }) => {
      const { way, branch, commit } = await sending(await openRepository(path.path, call.signal, "read"), given, call);
      return `sends branch ${branch} (${commit}) to ${way.url}`;
    },
    run: async ({ input: given, resources: { path }, ...call }) => {
      const { signal } = call;
      const repository = await openRepository(path.path, signal);
      const { way, remote, branch, commit } = await sending(repository, given, call);
      const reference = `refs/heads/${branch}:refs/heads/${branch}`;
      const options = { signal, timeoutMs, env: way.env, confine: reaching(way, "change") };
      await repository.exchange(
        [...way.settings, "push", quietPeer("receive-pack"), ...quiet, "--no-verify", "--", way.url, reference],
        options,
      );
      // What a push to the remote's name would have noted.
      await repository.git(["update-ref", `refs/remotes/${remote}/${branch}`, commit], { signal });
      return { remote, branch, commit };
    },
  });
};

interface Given {
  readonly remote?: string;
  readonly branch?: string;
}

interface PullPlan {
  readonly path: string;
  readonly before: string;
}

const pullTool = (world: RemoteWorld) =>
  changes({
    ...facts,
    name: "git.pull",
    summary:
      "Fetches a remote's branch and moves the one that is checked out forward to it; refuses when they diverged.",
    input,
    output: object({
      before: Type.String({ description: "the commit before; empty before the first" }),
      after: Type.String(),
      updated: Type.Boolean(),
    }),
    undo: {
      prepare: async ({ resources: { path }, signal }): Promise<PullPlan> => {
        const repository = await openRepository(path.path, signal);
        return { path: path.path, before: (await commitAt(repository, { signal })) ?? "" };
      },
      restore: async ({ path, before }) => {
        const signal = timeoutSignal(60_000);
        const repository = await openRepository(path, signal);
        const now = await commitAt(repository, { signal });
        if (now === undefined || now === before) return;
        if (before === "") throw refused(path, "there was no commit before, so there is none to go back to");
        const ahead = await repository.git(["rev-list", "--count", "HEAD", "--not", "--remotes"], { signal });
        if (ahead.trim() !== "0") throw refused(path, "it has commits of its own since", "roll those back first");
        // Keeps what is not committed, and refuses where that is in the way.
        await repository.git(["reset", "--quiet", "--keep", before], { signal });
      },
    },
    preview: async ({ input: given, resources: { path }, ...call }) => {
      const { signal } = call;
      const repository = await openRepository(path.path, signal, "read");
      const { remote, branch } = await target(repository, given, signal);
      const way = await accessTo(await urlOf(repository, remote, "fetch", signal), "copy", world, call);
      const commit = await commitAt(repository, { signal });
      return `fetches branch ${branch} of ${way.url}, and moves ${path.path} forward to it from ${commit ?? "no commit"}`;
    },
    run: async ({ input: given, resources: { path }, ...call }) => {
      const { signal } = call;
      const repository = await openRepository(path.path, signal);
      const { remote, branch } = await target(repository, given, signal);
      const way = await accessTo(await urlOf(repository, remote, "fetch", signal), "copy", world, call);
      const before = (await commitAt(repository, { signal })) ?? "";
      const reference = `+refs/heads/${branch}:refs/remotes/${remote}/${branch}`;
      const options = { signal, timeoutMs, env: way.env, confine: reaching(way, "read") };
      const fetching = ["fetch", quietPeer("upload-pack"), ...quiet, "--no-tags", "--", way.url, reference];
      await repository.exchange([...way.settings, ...fetching], options);
      const merging = ["merge", "--quiet", "--ff-only", `refs/remotes/${remote}/${branch}`];
      await repository.git(merging, { signal, timeoutMs });
      const after = (await commitAt(repository, { signal })) ?? "";
      return { before, after, updated: before !== after };
    },
  });

export const gitRemotes = (world: RemoteWorld): readonly Tool[] => [pushTool(world), pullTool(world)];

const quiet = ["--quiet", "--no-recurse-submodules"];

/** The reach of git that speaks with a remote: the network, or the folder on this machine that it is. */
function reaching({ url, confine }: RemoteAccess, access: "read" | "change"): Confinement {
  if (!url.startsWith("/")) return confine;
  return { ...confine, ...(access === "read" ? { readable: [url] } : { writable: [url] }) };
}

async function target(
  repository: Repository,
  { remote = "origin", branch }: Given,
  signal: AbortSignal,
): Promise<{ remote: string; branch: string }> {
  const chosen = branch ?? (await currentBranch(repository, { signal }));
  if (chosen === "") throw refused(repository.path, "no branch is checked out", "name one");
  return { remote, branch: chosen };
}

/** Where a remote is: it may have another place to push to. */
async function urlOf(
  repository: Repository,
  remote: string,
  way: "fetch" | "push",
  signal: AbortSignal,
): Promise<string> {
  const listed = async (name: string) => {
    const { stdout } = await repository.ask(["config", "--get-all", "-z", `remote.${remote}.${name}`], { signal });
    return stdout.split("\0").filter((url) => url !== "");
  };
  const own = way === "push" ? await listed("pushurl") : [];
  const [url, ...others] = own.length > 0 ? own : await listed("url");
  if (way === "push" && others.length > 0)
    throw refused(repository.path, `remote ${remote} has several places to push to`);
  if (url !== undefined) return url;
  throw refused(repository.path, `it has no remote ${remote}`, "clone it from where it is to go");
}
