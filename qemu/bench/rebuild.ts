import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { BenchHost } from "./bench.ts";

/**
 * How long it takes, in milliseconds, from an edit of one daemon to a root image that can be booted: the whole command,
 * in a clone of the working tree, with the cache as a developer has it.
 */
export async function measureRebuild({ repository, say }: BenchHost): Promise<number> {
  const clone = mkdtempSync(join(tmpdir(), "aios-rebuild-"));
  try {
    copyWorkingTree(repository, clone);
    build(clone);
    appendFileSync(join(clone, "daemons/gateway/main.ts"), 'console.error("edited");\n');
    const started = performance.now();
    build(clone);
    const tookMs = performance.now() - started;
    say(`bench: rebuild after an edit of one daemon: ${(tookMs / 1000).toFixed(1)} s`);
    return tookMs;
  } finally {
    rmSync(clone, { recursive: true });
  }
}

/** The clone has the commit and the changes of the working tree, so that its first build finds everything cached. */
function copyWorkingTree(from: string, to: string): void {
  const git = (...args: string[]) => execFileSync("git", args, { cwd: from, encoding: "utf8" });
  git("-c", "safe.directory=*", "clone", "--quiet", "--shared", from, to);
  const changed = git("ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0");
  for (const path of new Set(changed)) {
    if (path === "") continue;
    if (!existsSync(join(from, path))) rmSync(join(to, path), { force: true });
    else {
      mkdirSync(dirname(join(to, path)), { recursive: true });
      copyFileSync(join(from, path), join(to, path));
    }
  }
  symlinkSync(join(from, "node_modules"), join(to, "node_modules"));
}

function build(clone: string): void {
  const args = ["image/build.ts", "--only", "vmlinuz", "--only", "erofs", "--only", "root"];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: clone, encoding: "utf8" });
  if (status !== 0) throw new Error(`build the clone: exit status ${status}\n${stderr}`);
}
