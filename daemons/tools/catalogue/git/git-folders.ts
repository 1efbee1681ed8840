import { closeSync, constants, lstatSync, openSync, readSync, realpathSync, type Stats, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { errnoOf } from "#lib/errors";
import { refused } from "./refused.ts";

/** Where git keeps a repository. */
export interface GitPlace {
  /** What belongs to this working tree alone: its HEAD and index. */
  readonly gitDir: string;
  /** Objects, branches and configuration; the same folder but for a further working tree. */
  readonly commonDir: string;
  /** Whether it has a working tree. */
  readonly bare: boolean;
}

/**
 * Where a repository is: in its .git; in the folder itself, which has no working tree then; or, for a further working tree and a
 * submodule, where its .git says, as long as what is there says that it belongs to this tree. Throws FAILED_PRECONDITION.
 */
export function placeOfRepository(path: string): GitPlace {
  const inside = `${path}/.git`;
  const found = lookAt(inside);
  if (found === undefined && isBare(path)) return whole(path, true);
  if (found === undefined) throw refused(path, "there is no repository", "make one with git.init or git.clone");
  if (found.isDirectory()) return whole(inside, false);
  const named = found.isFile() ? namedIn(textOf(inside)) : undefined;
  if (named === undefined) throw refused(path, "its .git is not a folder");
  const gitDir = real(resolve(path, named));
  const common = textOf(`${gitDir}/commondir`).trim();
  if (common !== "" && workingTreeOf(gitDir) === inside) {
    const commonDir = real(resolve(gitDir, common));
    if (gitDir.startsWith(`${commonDir}/worktrees/`)) return { gitDir, commonDir, bare: false };
  }
  const worktree = worktreeIn(textOf(`${gitDir}/config`));
  const own = worktree !== undefined && real(resolve(gitDir, worktree)) === path;
  if (common === "" && own && path.startsWith(`${ownerOf(gitDir)}/`)) return whole(gitDir, false);
  throw refused(path, "its .git leads to a repository that does not belong to it");
}

const whole = (gitDir: string, bare: boolean): GitPlace => ({ gitDir, commonDir: gitDir, bare });

/** Whether a folder is itself what git keeps of a repository. */
export function isBare(path: string): boolean {
  const folder = (name: string) => lookAt(`${path}/${name}`)?.isDirectory() === true;
  return lookAt(`${path}/HEAD`)?.isFile() === true && folder("objects") && folder("refs");
}

// Patterns that look from each blank for the end of blanks would take hours for a file full of them.

/** The folder that is named by a .git which is a file. */
function namedIn(text: string): string | undefined {
  const line = text.trimEnd();
  const named = line.startsWith("gitdir: ") ? line.slice("gitdir: ".length) : "";
  return named === "" || named.includes("\n") ? undefined : named;
}

/** The working tree that a submodule's configuration names. */
function worktreeIn(config: string): string | undefined {
  const line = config.split("\n").find((one) => /^\s*worktree\s*=/.test(one));
  return line
    ?.slice(line.indexOf("=") + 1)
    .trim()
    .replace(/^"|"$/g, "");
}

/** The .git that a further working tree has. */
const workingTreeOf = (gitDir: string) => {
  const said = textOf(`${gitDir}/gitdir`).trim();
  return said === "" ? "" : real(resolve(gitDir, said));
};

/** The working tree, the first or a further one, in which a submodule lies; "/?" when it is none's. */
function ownerOf(gitDir: string): string {
  const [, of, further] = /^(.*?)\/\.git(\/worktrees\/[^/]+)?\/modules\//.exec(gitDir) ?? [];
  if (of === undefined) return "/?";
  return further === undefined ? of : dirname(workingTreeOf(`${of}/.git${further}`) || "/?/?");
}

function lookAt(path: string) {
  try {
    return lstatSync(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" && errnoOf(error) !== "ENOTDIR") throw error;
    return undefined;
  }
}

/** The most that is read of such a file, bytes: each holds a path or two, a configuration its settings. */
const smallMaxBytes = 1024 * 1024;

/**
 * What a small file says; nothing when there is none. Whoever may write in a repository may put anything there: a pipe or a device,
 * which would stop the daemon or never end, is refused, and so is a file without end.
 */
export function textOf(path: string): string {
  const found = isThere(path);
  if (found === undefined) return "";
  const file = `its ${basename(path)}`;
  if (!found.isFile()) throw refused(dirname(path), `${file} is no file`);
  if (found.size > smallMaxBytes) throw refused(dirname(path), `${file} is longer than ${smallMaxBytes} bytes`);
  return beginningOf(path);
}

function isThere(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** Without waiting: a pipe may have been put in its place meanwhile. */
function beginningOf(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const bytes = Buffer.alloc(smallMaxBytes);
    return bytes.toString("utf8", 0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}

/** Without links; as it is where nothing stands. */
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path === "" ? "" : `${dirname(path)}/?`;
  }
}
