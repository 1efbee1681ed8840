import { readFileSync, rmSync } from "node:fs";
import { parse, stringify } from "smol-toml";
import type { Config } from "#lib/config/config";
import { replaceFile } from "#lib/data/files";
import { AiosError, errnoOf, messageOf } from "#lib/errors";
import { merge, type Table, tablesOf } from "./settings.ts";

export interface ConfigFiles {
  /** The image's own, checked when the image was built. */
  readonly image: string;
  /** The machine's: the same file, or what was changed here. */
  readonly machine: string;
  /** A copy of the machine's file as it was when it last passed the check. */
  readonly lastGood: string;
}

interface EffectiveConfig {
  readonly config: Config;
  /** Settings that were not taken, and why; empty when all is well. */
  readonly problems: readonly string[];
}

interface Layer {
  readonly table: Table;
  readonly problems: readonly string[];
}

/**
 * The configuration in effect: kernel command line over the machine's file over the image's.
 * A machine's file that does not pass the check is replaced by its last good copy, or else left out; so are settings of
 * the command line. Throws when the image's own file is missing or broken.
 */
export async function effectiveConfig(
  files: ConfigFiles,
  settings: ReadonlyMap<string, string>,
): Promise<EffectiveConfig> {
  const image = readFileSync(files.image, "utf8");
  const { table, problems } = await machineLayer(image, files);
  if (settings.size === 0) return { config: table as Config, problems };
  try {
    const { configSchema, parseToml } = await import("#lib/config/config");
    const merged = stringify(merge(table, tablesOf(settings, settingValue)));
    return { config: withoutLine(() => parseToml(configSchema, merged, "kernel command line")), problems };
  } catch (error) {
    const reason = `${messageOf(error)}; its settings are left out`;
    return { config: table as Config, problems: [...problems, reason] };
  }
}

/** The image's configuration with the machine's over it. An unchanged file was checked with the image and is not again. */
async function machineLayer(image: string, files: ConfigFiles): Promise<Layer> {
  const base = parse(image);
  try {
    const text = readMachineFile(files.machine);
    if (text === image) {
      bestEffort(() => rmSync(files.lastGood, { force: true }));
      return { table: base, problems: [] };
    }
    const table = await check(base, text, files.machine);
    // Not a fault of the configuration when the data volume is full.
    bestEffort(() => replaceFile(files.lastGood, text));
    return { table, problems: [] };
  } catch (error) {
    return lastGoodLayer(base, messageOf(error), files.lastGood);
  }
}

async function lastGoodLayer(base: Table, reason: string, file: string): Promise<Layer> {
  try {
    const table = await check(base, readFileSync(file, "utf8"), file);
    return { table, problems: [`${reason}; in effect is the last good one, ${file}`] };
  } catch {
    return { table: base, problems: [`${reason}; in effect is the image's own`] };
  }
}

function readMachineFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: path,
      reason: errnoOf(error) ?? messageOf(error),
      next: "write it anew",
    });
  }
}

/**
 * `text` laid over `base`, when the whole fits the schema. The check is loaded only when there is something to check: it
 * is a tenth of the bundle, and most boots find the image's configuration unchanged.
 * Throws with file, line, key and what was expected.
 */
async function check(base: Table, text: string, file: string): Promise<Table> {
  const { configSchema, parseToml } = await import("#lib/config/config");
  try {
    return parseToml(configSchema, text, file);
  } catch (error) {
    // A file may leave out keys, or be older than a key: the image's value holds then.
    if (!messageOf(error).includes("the key is missing")) throw error;
    const merged = stringify(merge(base, parse(text)));
    return withoutLine(() => parseToml(configSchema, merged, file));
  }
}

/** Merged text has no lines that somebody could look up: an error names the key alone. */
function withoutLine<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw new AiosError("INVALID_ARGUMENT", messageOf(error).replace(/^(read [^:]+):\d+:/, "$1:"));
  }
}

/** A setting's value: TOML (true, 5, ["a"]) or else the text itself. */
function settingValue(text: string): unknown {
  try {
    return parse(`value = ${text}`)["value"];
  } catch {
    return text;
  }
}

function bestEffort(act: () => void): void {
  try {
    act();
  } catch {
    // The file is a convenience: without it a later fault falls back further.
  }
}
