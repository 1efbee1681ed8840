import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import type { ImageSettings } from "../../image/image.ts";
import type { BuildEvent } from "../../image/progress/index.ts";
import { buildImages, type Images } from "../images.ts";

const git = (repository: string, ...words: string[]): string =>
  execFileSync("git", ["-c", "safe.directory=*", "-C", repository, ...words], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  }).trim();

/** The full name of a commit. Throws NOT_FOUND when the repository has none of this name. */
export function commitOf(repository: string, reference: string): string {
  try {
    return git(repository, "rev-parse", "--verify", "--end-of-options", `${reference}^{commit}`);
  } catch (cause) {
    const next = "name a commit, a branch or a tag that this repository has: git log --oneline";
    throw new AiosError(
      "NOT_FOUND",
      { act: "compare with", object: reference, reason: "no such commit", next },
      { cause },
    );
  }
}

/**
 * A checkout of a commit with its packages, in `cache`; returns its folder. The packages are this tree's, linked, where the
 * lock file is the same, else npm installs them.
 */
export function checkOut(repository: string, commit: string, cache: string, say: (line: string) => void): string {
  const tree = join(cache, "compare", commit);
  if (!existsSync(join(tree, ".git"))) {
    say(`compare: checking out ${commit.slice(0, 10)} in ${tree}`);
    mkdirSync(join(cache, "compare"), { recursive: true });
    git(repository, "clone", "--quiet", "--no-checkout", "--shared", repository, tree);
  }
  git(tree, "checkout", "--quiet", "--force", "--detach", commit);
  const lock = (of: string) => readFileSync(join(of, "package-lock.json"), "utf8");
  if (!existsSync(join(tree, "node_modules")) && lock(tree) === lock(repository))
    run(tree, "sh", [
      "-c",
      'cp -a --link "$1" . && touch node_modules/.package-lock.json',
      "sh",
      join(repository, "node_modules"),
    ]);
  run(tree, "sh", ["ci/setup"]);
  return tree;
}

/** Runs a program in `tree`; its words go to standard error. Throws with its status. */
function run(tree: string, program: string, words: readonly string[]): string {
  const { status, stdout } = spawnSync(program, words, {
    cwd: tree,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status === 0) return stdout;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "run",
    object: `${program} ${words.join(" ")} in ${tree}`,
    reason: `it ended with status ${status}`,
    next: "see above; it must work in a checkout of that commit",
  });
}

/** The images of `tree`, built by its own build: what the machine of that commit boots. `here` is this tree. */
export async function imagesOf(
  tree: string,
  here: string,
  settings: ImageSettings,
  log: (event: BuildEvent) => void,
): Promise<Images> {
  const own = await buildImages(settings, log);
  if (tree === here) return own;
  const build = `
    import { buildImages } from "./qemu/images.ts";
    const { kernel, rootImage, rootTree, bytes } = await buildImages(${JSON.stringify(settings)}, () => {});
    console.log(JSON.stringify({ kernel, rootImage, rootTree, bytes }));`;
  const out = run(tree, process.execPath, ["--input-type=module", "--eval", build]);
  const built = JSON.parse(out.trim().split("\n").at(-1) ?? "") as Pick<
    Images,
    "kernel" | "rootImage" | "rootTree" | "bytes"
  >;
  const disk = () =>
    Promise.reject(
      new AiosError("UNIMPLEMENTED", "compare: no disk of another commit is made: use its kernel and root"),
    );
  return { ...built, ofAnotherCommit: true, disk, writeProvisioningVolume: own.writeProvisioningVolume };
}
