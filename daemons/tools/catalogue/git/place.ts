import { lstatSync, readFileSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { errnoOf } from "#lib/errors";
import { refused } from "./refused.ts";

/** Where git keeps a repository. */
export interface GitPlace {
  /** What belongs to this working tree alone: its HEAD and index. */
  readonly gitDir: string;
  /** Objects, branches and configuration; the same folder but for a further working tree. */
  readonly commonDir: string;
}

/**
 * Where the repository of a working tree is: in its .git, or, for a further working tree and a submodule, where its .git says, as
 * long as what is there says that it belongs to this tree. Throws FAILED_PRECONDITION.
 */
export function placeOfRepository(path: string): GitPlace {
  const inside = `${path}/.git`;
  const found = lookAt(path, inside);
  if (found.isDirectory()) return { gitDir: inside, commonDir: inside };
  const [, named] = found.isFile() ? (/^gitdir: (.+?)\s*$/.exec(textOf(inside)) ?? []) : [];
  if (named === undefined) throw refused(path, "its .git is not a folder");
  const gitDir = real(resolve(path, named));
  const common = textOf(`${gitDir}/commondir`).trim();
  if (common !== "" && real(textOf(`${gitDir}/gitdir`).trim()) === inside) {
    const commonDir = real(resolve(gitDir, common));
    if (gitDir.startsWith(`${commonDir}/worktrees/`)) return { gitDir, commonDir };
  }
  const owner = gitDir.slice(0, gitDir.indexOf("/.git/modules/"));
  const worktree = /^\s*worktree\s*=\s*"?(.+?)"?\s*$/m.exec(textOf(`${gitDir}/config`))?.[1];
  const own = worktree !== undefined && real(resolve(gitDir, worktree)) === path;
  if (common === "" && own && owner !== "" && path.startsWith(`${owner}/`)) return { gitDir, commonDir: gitDir };
  throw refused(path, "its .git leads to a repository that does not belong to it");
}

function lookAt(path: string, inside: string) {
  try {
    return lstatSync(inside);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" && errnoOf(error) !== "ENOTDIR") throw error;
    throw refused(path, "there is no repository", "make one with git.init or git.clone");
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
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
