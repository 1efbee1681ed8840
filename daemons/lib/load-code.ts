/**
 * Loads code of the image with V8's code cache, made when the image was built: functions that a start runs need not be compiled
 * again. Stands at the head of every program (image/steps/bundles.ts), and imports nothing of ours.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Script } from "node:vm";

type Exports = Readonly<Record<string, unknown>>;

/** The code cache of a file: beside it. */
export const cacheOf = (path: string) => `${path}.cache`;

/**
 * The script of a CommonJS file of ASCII: a function of `exports`, `require`, `module`, `__filename` and `__dirname`. A cache that
 * another V8 made, or with flags that change code, is not used: `cachedDataRejected` says so, and nothing else differs.
 */
export function scriptOf(path: string, cachedData?: Buffer): Script {
  // ASCII is Latin-1: one byte a character for V8, and nothing to decode.
  const source = readFileSync(path, "latin1");
  return new Script(`(function(exports,require,module,__filename,__dirname){${source}\n})`, {
    filename: path,
    ...(cachedData && { cachedData }),
  });
}

/** Runs a script of {@link scriptOf} and returns what it exports. Its parts ("./name.cjs") are loaded as it was. */
export function runScript(script: Script, path: string): Exports {
  const module = { exports: {} };
  const ownRequire = createRequire(path);
  const require = (name: string): unknown =>
    /^\.\/[a-z0-9-]+\.cjs$/.test(name) ? loadCode(join(dirname(path), name)) : ownRequire(name);
  script.runInThisContext()(module.exports, Object.assign(require, ownRequire), module, path, dirname(path));
  return module.exports;
}

const loaded = new Map<string, Exports>();

/** What a file of the image's code exports; loaded once, with its cache where there is one. */
export function loadCode(path: string): Exports {
  const known = loaded.get(path);
  if (known !== undefined) return known;
  const exports = runScript(scriptOf(path, cacheIn(path)), path);
  loaded.set(path, exports);
  return exports;
}

function cacheIn(path: string): Buffer | undefined {
  try {
    return readFileSync(cacheOf(path));
  } catch {
    return undefined;
  }
}
