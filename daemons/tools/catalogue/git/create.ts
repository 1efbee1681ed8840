import { lstat, readdir, rm } from "node:fs/promises";
import * as Type from "typebox";
import { timeoutSignal } from "#lib/clock";
import { errnoOf } from "#lib/errors";
import { type ResolvedPath, removeFolders } from "../../files/index.ts";
import { changes, type Tool, type Undo } from "../../tool.ts";
import { absolutePath, object } from "../shared/index.ts";
import { isBare } from "./git-folders.ts";
import { accessTo, quietPeer, type RemoteWorld } from "./remote-access.ts";
import { urlField } from "./remotes.ts";
import { branchName, commitAt, gitAlone, openRepository, refused } from "./repository.ts";
import { roomIn, withinSize } from "./size-limit.ts";

const timeoutMs = 600_000;
const maxMbDefault = 2_048;
const fileSlackBytes = 64 * 2 ** 20;

interface CreationPlan {
  readonly path: string;
  /** The folder that stood before, and the names of those to be made below it. */
  readonly folder: string;
  readonly names: readonly string[];
  /** Whether the folder itself was there: then its .git alone is taken away again. */
  readonly existed: boolean;
}

const planOf = ({ path, folder, names, exists }: ResolvedPath): CreationPlan => ({
  path,
  folder,
  names,
  existed: exists,
});

const init = changes({
  name: "git.init",
  summary: "Makes a folder a repository without commits; makes the folder when it is missing.",
  input: object({ path: absolutePath, branch: Type.Optional(branchName) }),
  output: object({ path: Type.String() }),
  resources: { path: "path" },
  capabilities: ["git:write:{path}"],
  idempotent: false,
  risk: "low",
  timeoutMs: 30_000,
  undo: undoCreation<{ path: string }>(async (plan, signal) => {
    const repository = await openRepository(plan.path, signal);
    const commits = await repository.git(["rev-list", "--all", "--max-count=1"], { signal });
    if (commits !== "")
      throw refused(plan.path, "it holds commits by now", "remove the folder when they are not needed");
  }),
  preview: async ({ input: { branch = "main" }, resources: { path } }) => {
    await checkNone(path.path);
    return `+ ${path.path}/.git, a repository without commits on branch ${branch}`;
  },
  run: async ({ input: { branch = "main" }, resources: { path }, signal }) => {
    await checkNone(path.path);
    await gitAlone(["init", "--quiet", "--template=", `--initial-branch=${branch}`, "--", path.path], {
      signal,
      confine: placeOf(path),
    });
    return { path: path.path };
  },
});

const cloneTool = (world: RemoteWorld) =>
  changes({
    name: "git.clone",
    summary:
      "Copies a repository from a URL, or from a path on this machine, into a folder that does not exist or is empty.",
    input: object({
      url: urlField,
      path: absolutePath,
      branch: Type.Optional(branchName),
      depth: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, description: "so many commits only" })),
      max_mb: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 1_048_576, description: "how large it may become; 2,048 unless given" }),
      ),
    }),
    output: object({ path: Type.String(), commit: Type.String({ description: "empty when it has none" }) }),
    resources: { path: "path" },
    capabilities: ["git:write:{path}"],
    idempotent: false,
    alsoNeeds: ["git:remote:{url}", "net:local:{address}"],
    risk: "medium",
    timeoutMs: 600_000,
    undo: undoCreation<{ path: string; url: string }>(async (plan, signal) => {
      const repository = await openRepository(plan.path, signal);
      if (await isThere(`${plan.path}/.git/modules`))
        throw refused(plan.path, "it holds submodules by now", "remove the folder when they are not needed");
      const changed = await repository.git(["status", "--porcelain", "-z"], { signal });
      const own = await repository.git(["rev-list", "--branches", "--not", "--remotes", "--max-count=1"], { signal });
      if (changed !== "" || own !== "") {
        throw refused(
          plan.path,
          "it holds changes that are nowhere else",
          "remove the folder when they are not needed",
        );
      }
    }),
    // Whether there is a way shows before anybody is asked.
    preview: async ({ input: { url }, resources: { path }, ...call }) => {
      const way = await accessTo(url, "copy", world, call);
      await checkEmpty(path);
      return `copies ${way.url} to ${path.path}`;
    },
    run: async ({ input: { url, branch, depth, max_mb = maxMbDefault }, resources: { path }, ...call }) => {
      const { signal } = call;
      const way = await accessTo(url, "copy", world, call);
      await checkEmpty(path);
      const local = way.url.startsWith("/");
      const words = [
        ...[
          "--quiet",
          "--template=",
          "--no-checkout",
          "--no-local",
          "--no-recurse-submodules",
          quietPeer("upload-pack"),
        ],
        ...(branch === undefined ? [] : [`--branch=${branch}`]),
        ...(depth === undefined ? [] : [`--depth=${depth}`]),
        ...["--", local ? `file://${way.url}` : way.url, path.path],
      ];
      const confine = {
        ...way.confine,
        ...placeOf(path),
        readable: [...(way.confine.readable ?? []), ...(local ? [way.url] : [])],
      };
      const maxBytes = roomIn(path.exists ? path.path : path.folder, max_mb * 2 ** 20);
      // One file is cut off by the kernel a little above: what is too large is told by looking.
      const fileMaxBytes = maxBytes + fileSlackBytes;
      try {
        const commit = await withinSize(path.path, maxBytes, signal, async (stop) => {
          const options = { signal: stop, timeoutMs, fileMaxBytes };
          await gitAlone([...way.settings, "clone", ...words], { ...options, env: way.env, confine });
          const repository = await openRepository(path.path, stop);
          const found = await commitAt(repository, { signal: stop });
          // By a git that can start no filter, whatever was written beside meanwhile.
          if (found !== undefined) await repository.git(["reset", "--quiet", "--hard"], options);
          return found ?? "";
        });
        return { path: path.path, commit };
      } catch (error) {
        await clearAway(planOf(path));
        throw error;
      }
    },
  });

async function checkNone(path: string): Promise<void> {
  if ((await isThere(`${path}/.git`)) || isBare(path)) throw refused(path, "it is a repository already");
}

/** A clone goes into a folder of its own; what stands in another would be cleared away with one that failed. */
async function checkEmpty({ path, exists }: ResolvedPath): Promise<void> {
  if (!exists || (await readdir(path)).length === 0) return;
  throw refused(path, "the folder is not empty", "name one that is, or that does not exist");
}

/** Clears away what a failed clone has left: the folder was not there, or empty. */
async function clearAway({ path, folder, names, existed }: CreationPlan): Promise<void> {
  if (existed) for (const name of await readdir(path)) await rm(`${path}/${name}`, { recursive: true, force: true });
  else await rm(path, { recursive: true, force: true });
  if (!existed) await removeFolders(folder, names.slice(0, -1));
}

export const gitCreations = (world: RemoteWorld): readonly Tool[] => [init, cloneTool(world)];

/** Where a repository is made: its own folder, or the one that will hold it. */
const placeOf = ({ path, folder, exists }: ResolvedPath) => ({ writable: [exists ? path : folder] });

/** Takes a new repository away again, when `check` has nothing against it. */
function undoCreation<Input>(
  check: (plan: CreationPlan, signal: AbortSignal) => Promise<void>,
): Undo<Input, { path: "path" }, CreationPlan> {
  const remove = async (plan: CreationPlan) => {
    // A clone into an empty folder fills it; a repository made of a folder adds its .git.
    if (plan.existed) for (const name of await ownNames(plan)) await rm(`${plan.path}/${name}`, { recursive: true });
    else await rm(plan.path, { recursive: true, force: true });
    if (!plan.existed) await removeFolders(plan.folder, plan.names.slice(0, -1));
  };
  return {
    prepare: async ({ resources: { path } }) => planOf(path),
    restore: async (plan) => {
      if (!(await isThere(`${plan.path}/.git`))) return;
      await check(plan, timeoutSignal(60_000));
      await remove(plan);
    },
  };
}

/** The names of a standing folder that belong to the repository made in it. */
async function ownNames({ path }: CreationPlan): Promise<string[]> {
  const repository = await openRepository(path, timeoutSignal(60_000));
  const tracked = await repository
    .git(["ls-tree", "--name-only", "-z", "HEAD"], { signal: timeoutSignal(60_000) })
    .catch(() => "");
  const names = new Set(tracked.split("\0").filter((name) => name !== ""));
  return (await readdir(path)).filter((name) => name === ".git" || names.has(name));
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return false;
    throw error;
  }
}
