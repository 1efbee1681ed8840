import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/**
 * Names and strings are hashed alike in every run, nothing happens beside, and no compiled function is given up: the same code
 * gives the same cache, byte for byte.
 */
const repeatable = ["--hash-seed=1", "--predictable", "--no-flush-bytecode"];

/** Where V8 14's header of a cache holds the hash of its flags (SerializedCodeData): four bytes. */
const flagHashOffset = 12;
const flagHashLength = 4;

/** Programs are evaluated and not run: lib/daemon.ts ends at once, and an agent has settings. */
const evaluatedOnly = { AIOS_EVALUATE_ONLY: "1", AIOS_AGENT: "task", AIOS_AGENT_SETTINGS: "{}" };

const maker = join(import.meta.dirname, "code-cache-maker.ts");

/**
 * V8's code cache of a file of lib/load-code.ts: its functions as far as they run when its modules are evaluated. Made by the Node that
 * runs this, which is the image's. Throws when the code cannot be evaluated.
 */
export async function makeCodeCache(path: string): Promise<Buffer> {
  // V8 takes no cache of other flags than its own. Those of the maker change nothing about code: the cache says that there were none.
  const [cache, plain] = await Promise.all([made(repeatable, path), withoutFlags()]);
  plain.copy(cache, flagHashOffset, flagHashOffset, flagHashOffset + flagHashLength);
  return cache;
}

let plainCache: Promise<Buffer> | undefined;

/** A cache of nothing, made by a Node without flags. */
function withoutFlags(): Promise<Buffer> {
  plainCache ??= made([], "");
  return plainCache;
}

async function made(flags: readonly string[], path: string): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "aios-code-cache-"));
  try {
    const to = join(folder, "cache");
    await promisify(execFile)(process.execPath, [...flags, maker, path, to], {
      env: evaluatedOnly,
    });
    return await readFile(to);
  } finally {
    await rm(folder, { recursive: true });
  }
}
