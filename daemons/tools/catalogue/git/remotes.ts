import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import { hostOf } from "../../names.ts";
import { defineTool, type Tool } from "../../tool.ts";
import type { Outbound } from "../outbound.ts";
import type { Confinement } from "../process/sandbox.ts";
import { absolutePath, object } from "../words.ts";
import {
  branchName,
  commitAt,
  currentBranch,
  openRepository,
  type Repository,
  refused,
  remoteName,
  remoteOf,
} from "./repository.ts";

export const urlField = Type.String({
  pattern: "^(/|https?://|ssh://|git://|file:///)[^\\s]",
  maxLength: 2048,
  description: "a repository's URL, or its absolute path on this machine",
});

const timeoutMs = 600_000;

const facts = {
  callers: ["core", "operator", "agent"],
  effect: "change",
  risk: "medium",
  timeoutMs,
  idempotent: true,
  confirmation: false,
  resources: { path: "path" },
  capabilities: ["git:write:{path}"],
  alsoNeeds: ["git:remote:{url}"],
} as const;

const input = object({
  path: absolutePath,
  remote: Type.Optional(remoteName),
  branch: Type.Optional(branchName),
});

const pushTool = (outbound: Outbound) =>
  defineTool({
    ...facts,
    name: "git.push",
    summary: "Sends a branch, the one that is checked out unless told otherwise, to a remote. Never by force.",
    input,
    output: object({ remote: Type.String(), branch: Type.String(), commit: Type.String() }),
    irreversible: "who has fetched it since keeps it",
    run: async ({ input: given, resources: { path }, permits, signal }) => {
      const repository = await openRepository(path.path, signal);
      const { remote, branch } = await target(repository, given, signal);
      const url = await permitRemote(await urlOf(repository, remote, signal), permits, outbound);
      const commit = await commitAt(repository, { signal }, `refs/heads/${branch}`);
      if (commit === undefined) throw refused(path.path, `it has no branch ${branch} with commits`);
      const reference = `refs/heads/${branch}:refs/heads/${branch}`;
      const options = { signal, timeoutMs, confine: reaching(url, path.path, "change") };
      await repository.git(
        ["push", "--quiet", "--no-verify", "--no-recurse-submodules", "--", url, reference],
        options,
      );
      // What a push to the remote's name would have noted.
      await repository.git(["update-ref", `refs/remotes/${remote}/${branch}`, commit], options);
      return { remote, branch, commit };
    },
  });

interface PullPlan {
  readonly path: string;
  readonly before: string;
}

const pullTool = (outbound: Outbound) =>
  defineTool({
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
        const signal = AbortSignal.timeout(60_000);
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
    run: async ({ input: given, resources: { path }, permits, signal }) => {
      const repository = await openRepository(path.path, signal);
      const { remote, branch } = await target(repository, given, signal);
      const url = await permitRemote(await urlOf(repository, remote, signal), permits, outbound);
      const before = (await commitAt(repository, { signal })) ?? "";
      const reference = `+refs/heads/${branch}:refs/remotes/${remote}/${branch}`;
      const options = { signal, timeoutMs, confine: reaching(url, path.path, "read") };
      await repository.git(["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--", url, reference], options);
      const merging = ["merge", "--quiet", "--ff-only", `refs/remotes/${remote}/${branch}`];
      await repository.git(merging, { signal, timeoutMs });
      const after = (await commitAt(repository, { signal })) ?? "";
      return { before, after, updated: before !== after };
    },
  });

export const gitRemotes = (outbound: Outbound): readonly Tool[] => [pushTool(outbound), pullTool(outbound)];

/** What git may touch to speak with a remote: the network, or the folder on this machine that it is. */
function reaching(url: string, own: string, access: "read" | "change"): Confinement {
  if (!url.startsWith("/")) return { network: true };
  return access === "read" ? { readable: [url] } : { writable: [own, url] };
}

async function target(
  repository: Repository,
  { remote = "origin", branch }: { readonly remote?: string; readonly branch?: string },
  signal: AbortSignal,
): Promise<{ remote: string; branch: string }> {
  const chosen = branch ?? (await currentBranch(repository, { signal }));
  if (chosen === "") throw refused(repository.path, "no branch is checked out", "name one");
  return { remote, branch: chosen };
}

async function urlOf(repository: Repository, remote: string, signal: AbortSignal): Promise<string> {
  const found = await repository.ask(["config", "--local", "--get", `remote.${remote}.url`], { signal });
  if (found.exitCode === 0) return found.stdout.trim();
  throw refused(repository.path, `it has no remote ${remote}`, "clone it from where it is to go");
}

/** A remote as git is given it. Throws PERMISSION_DENIED when the caller may not use it. */
export async function permitRemote(
  given: string,
  permits: (capability: string) => boolean,
  outbound: Outbound,
): Promise<string> {
  const url = await remoteOf(given);
  if (!url.startsWith("/")) outbound.check("use remote", hostOf(new URL(url)));
  if (permits(`git:remote:${url}`)) return url;
  throw new AiosError("PERMISSION_DENIED", {
    act: "use remote",
    object: url,
    reason: "it was not granted",
    next: `it needs a grant of git:remote:${url}`,
  });
}
