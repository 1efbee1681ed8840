/**
 * git runs by bubblewrap, as root without root's capabilities but those over files, with its repository and its remote
 * alone. It starts no other program (the filter refuses it a process of its own), so neither a filter nor a submodule's
 * configuration runs one, whatever somebody writes into `.git` during a call; where it speaks with a remote it must,
 * and then its configuration lies in a folder of the sandbox's own. A file that a filter is to change (git-lfs,
 * git-crypt) is not added as it is: `git.add` refuses it.
 */
import { existsSync, lstatSync } from "node:fs";
import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import { beginning } from "#lib/text";
import { resolvePath } from "../../files/index.ts";
import { resolveUrl } from "../../names.ts";
import {
  type Argv,
  type Confinement,
  type Ended,
  type ProgramOptions,
  programFailed,
  runProgram,
} from "../shared/index.ts";
import { type GitPlace, placeOfRepository, textOf } from "./git-folders.ts";
import { heededOf } from "./heeded-config.ts";
import { refused } from "./refused.ts";

/** A branch, tag or commit. Nothing that git would take for an option or an expression over commits. */
export const revision = Type.String({
  pattern: "^[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}$",
  description: "a branch, a tag or a commit's id",
});

export const branchName = Type.String({
  pattern: "^(?!.*(\\.\\.|//|\\.lock$|/$|\\.$))[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}$",
  description: "a branch's name",
});

export const remoteName = Type.String({ pattern: "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$", description: "a remote's name" });

/** Where repositories come from and go to. Not "ext::", which runs a program, and not what others make of a URL. */
const protocols = ["https", "http", "ssh", "git", "file"];

/** Nothing of the machine's, a user's or the caller's configuration or environment has a say. */
const environment = {
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_SYSTEM: "/dev/null",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_ATTR_NOSYSTEM: "1",
  GIT_TERMINAL_PROMPT: "0",
  GIT_ASKPASS: "/bin/false",
  SSH_ASKPASS: "/bin/false",
  GIT_SSH_COMMAND: "ssh -oBatchMode=yes",
  GIT_EDITOR: "/bin/false",
  GIT_PAGER: "cat",
  GIT_LITERAL_PATHSPECS: "1",
  GIT_ALLOW_PROTOCOL: protocols.join(":"),
  GIT_PROXY_COMMAND: "",
} as const;

/** Settings against what a repository's own configuration could turn on. A redirect could lead where nothing was granted. */
const settings = [
  ...["core.hooksPath=/dev/null", "core.fsmonitor=false", "core.sshCommand=ssh -oBatchMode=yes", "credential.helper="],
  ...["http.followRedirects=false", "gc.auto=0", "maintenance.auto=false", "submodule.recurse=false"],
  ...["core.alternateRefsCommand=", "commit.gpgSign=false", "push.gpgSign=false", "http.proxy="],
  ...["init.defaultBranch=main", "init.templateDir=", "advice.detachedHead=false"],
];

export { refused } from "./refused.ts";

interface GitOptions extends ProgramOptions {
  /** How large one file may become. */
  readonly fileMaxBytes?: number;
}

/** A repository's folder, which was checked. */
export interface Repository {
  readonly path: string;
  /** What belongs to its working tree alone. */
  readonly gitDir: string;
  /** What git touches of it: the working tree, and where its objects are. */
  readonly folders: readonly string[];
  /** Runs git in it; must succeed. */
  git(args: readonly string[], options: GitOptions): Promise<string>;
  /** Runs git in it; any exit status resolves. */
  ask(args: readonly string[], options: GitOptions): Promise<Ended>;
  /** Runs git with its objects and branches, to speak with a remote; must succeed. */
  exchange(args: readonly string[], options: ProgramOptions): Promise<string>;
}

/** Runs git outside any repository: to make one. */
export async function gitAlone(args: readonly string[], { fileMaxBytes, ...options }: GitOptions): Promise<string> {
  const result = await runProgram(command([], args, fileMaxBytes), {
    confine: alone,
    ...options,
    env: { ...environment, ...options.env },
  });
  if (result.exitCode !== 0) throw gitFailed(args, result);
  return result.stdout;
}

function command(where: readonly string[], args: readonly string[], fileMaxBytes?: number): Argv {
  const plain: Argv = ["git", ...where, ...settings.flatMap((setting) => ["-c", setting]), ...args];
  return fileMaxBytes === undefined ? plain : ["prlimit", `--fsize=${fileMaxBytes}`, "--", ...plain];
}

/** git that speaks with nobody starts no program: a filter or hook that gets by all the rest cannot run. */
const alone: Confinement = { processes: "one" };

/**
 * The repository in `path`, a resolved path. In its sandbox git finds a configuration of what is heeded where the repository's own
 * lies. Somebody who writes there at the same time can take it away again, so git starts no program; one that speaks with a remote
 * must, and finds its configuration in a folder that is the sandbox's own. Throws FAILED_PRECONDITION when there is none.
 */
export async function openRepository(
  path: string,
  signal: AbortSignal,
  access: "read" | "change" = "change",
): Promise<Repository> {
  const place = placeOfRepository(path);
  const { gitDir, commonDir, bare } = place;
  // Named, so that git looks for none further up.
  const tree = bare ? [] : [`--work-tree=${path}`];
  const where = [`--git-dir=${gitDir}`, ...tree, "-c", `safe.directory=${path}`];
  const folders = [path, commonDir];
  const own = access === "read" ? { readable: folders } : { writable: folders };
  const files = await heededFiles(commonDir, signal);
  const ask: Repository["ask"] = (args, { confine = {}, fileMaxBytes, ...options }) =>
    runProgram(command(where, args, fileMaxBytes), {
      cwd: path,
      ...options,
      confine: { ...alone, ...own, ...confine, files: { ...files, ...confine.files } },
      env: { ...environment, ...options.env },
    });
  const exchange: Repository["exchange"] = async (args, { confine = {}, ...options }) =>
    gitAlone([`--git-dir=${exchangeFolder}`, ...args], {
      ...options,
      confine: {
        ...confine,
        moved: movedOf(place),
        files: { ...confine.files, [`${exchangeFolder}/config`]: files[configOf(commonDir)] ?? "" },
      },
    });
  const git: Repository["git"] = async (args, options) => {
    const result = await ask(args, options);
    if (result.exitCode !== 0) throw gitFailed(args, result);
    return result.stdout;
  };
  return { path, gitDir, folders, git, ask, exchange };
}

/** Where a repository stands in the sandbox of a git that speaks with a remote. */
const exchangeFolder = "/run/repository";

function movedOf({ gitDir, commonDir }: GitPlace): Record<string, string> {
  const shared = ["objects", "refs", "logs", "reftable", "packed-refs", "shallow"].map((name) => [name, commonDir]);
  const there = [["HEAD", gitDir], ...shared].filter(([name, folder]) => existsSync(`${folder}/${name}`));
  return Object.fromEntries(there.map(([name, folder]) => [`${exchangeFolder}/${name}`, `${folder}/${name}`]));
}

const configOf = (commonDir: string) => `${commonDir}/config`;

/** What stands for git where the configuration of a repository lies. Throws FAILED_PRECONDITION where it cannot be used as it is. */
export async function heededFiles(commonDir: string, signal: AbortSignal): Promise<Record<string, string>> {
  const path = configOf(commonDir);
  if (!lstatSync(path, { throwIfNoEntry: false })?.isFile()) throw refused(commonDir, "its config is no file");
  const [borrowed = ""] = textOf(`${commonDir}/objects/info/alternates`).split("\n");
  if (borrowed !== "") {
    const next = "copy them into it with git repack -a -d, and remove objects/info/alternates";
    throw refused(commonDir, `it borrows the objects in ${beginning(borrowed, 200)}`, next);
  }
  const words = ["config", `--file=${path}`, "--no-includes", "--list", "-z"];
  return { [path]: heededOf(await gitAlone(words, { signal, confine: { ...alone, readable: [commonDir] } })) };
}

/**
 * Where a remote is, in the one spelling that is compared with grants: a URL, or the resolved path of a local repository.
 * Throws INVALID_ARGUMENT for what is neither.
 */
export async function remoteOf(url: string): Promise<string> {
  const [, protocol] = /^([a-z]+):\/\//.exec(url) ?? [];
  if (/^\w[\w.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^\s-][^\s]*$/.test(url)) return url;
  if (url.startsWith("/")) return (await resolvePath(url)).path;
  if (protocol === "file") return (await resolvePath(url.slice("file://".length))).path;
  if (protocol === "http" || protocol === "https") return resolveUrl(url).name;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a control character has no place in a URL.
  if ((protocol === "ssh" || protocol === "git") && !/[\s\x00-\x1f]|:\/\/-/.test(url)) return url;
  throw new AiosError("INVALID_ARGUMENT", {
    act: "read remote",
    object: JSON.stringify(beginning(url, 200)),
    reason: "it is no URL that git may use",
    next: `give an absolute path, or a URL of ${protocols.join(", ")}`,
  });
}

/** The error of a git that ended badly. */
export function gitFailed(args: readonly string[], result: Ended): AiosError {
  return programFailed(["git", ...args], result);
}

/** The commit that HEAD, or another name, stands for; undefined before the first. */
export async function commitAt(
  repository: Repository,
  options: ProgramOptions,
  name = "HEAD",
): Promise<string | undefined> {
  const found = await repository.ask(["rev-parse", "--verify", "--quiet", `${name}^{commit}`], options);
  return answered(["rev-parse", name], found) ? found.stdout.trim() : undefined;
}

/** The branch that is checked out; "" when a commit is. */
export async function currentBranch(repository: Repository, options: ProgramOptions): Promise<string> {
  const found = await repository.ask(["symbolic-ref", "--quiet", "--short", "HEAD"], options);
  return answered(["symbolic-ref", "HEAD"], found) ? found.stdout.trim() : "";
}

/** Whether git found what it was asked for. Throws when it could not look. */
function answered(args: readonly string[], found: Ended): boolean {
  if (found.exitCode !== 0 && found.exitCode !== 1) throw gitFailed(args, found);
  return found.exitCode === 0;
}
