import { existsSync, lstatSync, readdirSync } from "node:fs";
import * as Type from "typebox";
import { AiosError, errnoOf } from "#lib/errors";
import { resolveUrl } from "../../names.ts";
import { resolvePath } from "../../paths.ts";
import { type Argv, type Ended, type ProgramOptions, programFailed, runProgram } from "../program.ts";

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
} as const;

/** What a repository's own configuration could turn on. A redirect could lead where nothing was granted. */
const settings = [
  ...["core.hooksPath=/dev/null", "core.fsmonitor=false", "core.sshCommand=ssh -oBatchMode=yes", "credential.helper="],
  ...["http.followRedirects=false", "gc.auto=0", "maintenance.auto=false", "submodule.recurse=false"],
  ...["commit.gpgSign=false", "init.defaultBranch=main", "init.templateDir=", "advice.detachedHead=false"],
];

/** The keys that a repository's configuration may hold: none that names a program, another file or another URL. */
const harmlessKey =
  /^(core\.(repositoryformatversion|filemode|bare|logallrefupdates|ignorecase|symlinks|precomposeunicode)|remote\.[\w-]+\.(url|fetch)|branch\.[^\n]+\.(remote|merge|rebase)|user\.(name|email)|init\.defaultbranch)$/;

/** A repository's folder, which was checked. */
export interface Repository {
  readonly path: string;
  /** Runs git in it; must succeed. */
  git(args: readonly string[], options: ProgramOptions): Promise<string>;
  /** Runs git in it; any exit status resolves. */
  ask(args: readonly string[], options: ProgramOptions): Promise<Ended>;
}

/** Runs git outside any repository: to make one. */
export async function gitAlone(args: readonly string[], options: ProgramOptions): Promise<string> {
  const argv = command([], args);
  const result = await runProgram(argv, { confine: {}, ...options, env: { ...environment, ...options.env } });
  if (result.exitCode !== 0) throw gitFailed(args, result);
  return result.stdout;
}

function command(where: readonly string[], args: readonly string[]): Argv {
  return ["git", ...where, ...settings.flatMap((setting) => ["-c", setting]), ...args];
}

/** The repository in `path`, a resolved path. Throws FAILED_PRECONDITION when there is none, or one that could run programs. */
export async function openRepository(
  path: string,
  signal: AbortSignal,
  access: "read" | "change" = "change",
): Promise<Repository> {
  checkFolder(path);
  // Named, so that git looks for none further up.
  const where = [`--git-dir=${path}/.git`, `--work-tree=${path}`, "-c", `safe.directory=${path}`];
  const own = access === "read" ? { readable: [path] } : { writable: [path] };
  const ask: Repository["ask"] = (args, { confine, ...options }) =>
    runProgram(command(where, args), {
      cwd: path,
      ...options,
      confine: { ...own, ...confine },
      env: { ...environment, ...options.env },
    });
  const git: Repository["git"] = async (args, options) => {
    const result = await ask(args, options);
    if (result.exitCode !== 0) throw gitFailed(args, result);
    return result.stdout;
  };
  await checkConfiguration(path, signal);
  return { path, git, ask };
}

/** git's own folder holds what git reads: it is not a link, and leads nowhere else. */
function checkFolder(path: string): void {
  const inside = `${path}/.git`;
  try {
    if (!lstatSync(inside).isDirectory()) throw refused(path, "its .git is not a folder");
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" && errnoOf(error) !== "ENOTDIR") throw error;
    throw refused(path, "there is no repository", "make one with git.init or git.clone");
  }
  const links = readdirSync(inside, { withFileTypes: true }).filter((entry) => entry.isSymbolicLink());
  const elsewhere = ["commondir", "config.worktree", "objects/info/alternates"].filter((name) =>
    existsSync(`${inside}/${name}`),
  );
  const odd = [...links.map(({ name }) => name), ...elsewhere][0];
  if (odd !== undefined) throw refused(path, `.git/${odd} leads out of it`);
}

async function checkConfiguration(path: string, signal: AbortSignal): Promise<void> {
  const file = `--file=${path}/.git/config`;
  const confine = { readable: [path] };
  const keys = await gitAlone(["config", file, "--no-includes", "--list", "--name-only", "-z"], { signal, confine });
  const harmful = keys.split("\0").find((key) => key !== "" && !harmlessKey.test(key));
  if (harmful === undefined) return;
  throw refused(
    path,
    `its configuration sets ${harmful}, which could run a program`,
    `take it out of ${path}/.git/config`,
  );
}

/**
 * Where a remote is, in the one spelling that is compared with grants: a URL, or the resolved path of a local repository.
 * Throws INVALID_ARGUMENT for what is neither.
 */
export async function remoteOf(url: string): Promise<string> {
  const [, protocol] = /^([a-z]+):\/\//.exec(url) ?? [];
  if (url.startsWith("/")) return (await resolvePath(url)).path;
  if (protocol === "file") return (await resolvePath(url.slice("file://".length))).path;
  if (protocol === "http" || protocol === "https") return resolveUrl(url).name;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a control character has no place in a URL.
  if ((protocol === "ssh" || protocol === "git") && !/[\s\x00-\x1f]|:\/\/-/.test(url)) return url;
  throw new AiosError("INVALID_ARGUMENT", {
    act: "read remote",
    object: JSON.stringify(url.slice(0, 200)),
    reason: "it is no URL that git may use",
    next: `give an absolute path, or a URL of ${protocols.join(", ")}`,
  });
}

/** The error of a git that ended badly. */
export function gitFailed(args: readonly string[], result: Ended): AiosError {
  return programFailed(["git", ...args], result);
}

export function refused(path: string, reason: string, next?: string): AiosError {
  const fault = { act: "use", object: `repository ${path}`, reason };
  return new AiosError("FAILED_PRECONDITION", next === undefined ? fault : { ...fault, next });
}

/** The commit that HEAD, or another name, stands for; undefined before the first. */
export async function commitAt(
  repository: Repository,
  options: ProgramOptions,
  name = "HEAD",
): Promise<string | undefined> {
  const found = await repository.ask(["rev-parse", "--verify", "--quiet", `${name}^{commit}`], options);
  return found.exitCode === 0 ? found.stdout.trim() : undefined;
}

/** The branch that is checked out; "" when a commit is. */
export async function currentBranch(repository: Repository, options: ProgramOptions): Promise<string> {
  const found = await repository.ask(["symbolic-ref", "--quiet", "--short", "HEAD"], options);
  return found.exitCode === 0 ? found.stdout.trim() : "";
}
