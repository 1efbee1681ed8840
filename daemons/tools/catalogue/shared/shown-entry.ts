import { readlink } from "node:fs/promises";
import { hold, readHeld } from "../../files/index.ts";
import { unifiedDiff } from "./diff.ts";
import type { Entry } from "./entry.ts";
import { measure, walk } from "./tree.ts";
import { contentMaxBytes } from "./write.ts";

/** Entries of a folder, and changes of many files, that a preview names; the rest is counted. */
export const shownMax = 200;

/** Shows a person an entry that would go away: a text as a diff, a folder as a list of what lies in it. */
export async function showRemoval(entry: Entry, signal: AbortSignal): Promise<string> {
  const { path, found, place } = entry;
  if (found === undefined) return `nothing stands at ${path}`;
  if (found.isSymbolicLink()) return `- ${path} -> ${await readlink(place)}`;
  if (found.isDirectory()) return showFolder(entry, "-", signal);
  const text = found.isFile() ? await textOf(path) : undefined;
  return text === undefined ? `- ${describe(entry)}` : unifiedDiff(path, text, undefined);
}

/** Shows a person an entry that would stand in place of another: both texts as a diff. */
export async function showArrival(from: Entry, to: Entry, signal: AbortSignal): Promise<string> {
  if (from.found?.isDirectory()) return showFolder(from, "+", signal, to.path);
  const after = from.found?.isFile() ? await textOf(from.path) : undefined;
  if (to.found === undefined) {
    return after === undefined ? `+ ${to.path} (${describe(from)})` : unifiedDiff(to.path, undefined, after);
  }
  const before = to.found.isFile() ? await textOf(to.path) : undefined;
  if (after !== undefined && before !== undefined) return unifiedDiff(to.path, before, after);
  return `- ${describe(to)}\n+ ${to.path} (${describe(from)})`;
}

async function showFolder(entry: Entry, sign: "+" | "-", signal: AbortSignal, at = entry.path): Promise<string> {
  const { entries, bytes } = await measure(entry, signal);
  const lines = [`${sign} ${at}/ (${entries} entries, ${bytes} bytes)`];
  const going = { depthMax: Number.POSITIVE_INFINITY, entriesMax: Number.POSITIVE_INFINITY, signal };
  for await (const { path, found } of walk(entry, going)) {
    if (lines.length > shownMax) {
      lines.push(`  … ${entries - shownMax - 1} more`);
      break;
    }
    lines.push(`${sign} ${at}/${path}${found.isDirectory() ? "/" : ` (${found.size} bytes)`}`);
  }
  return lines.join("\n");
}

function describe({ path, found }: Entry): string {
  const kind = found?.isFile() ? "a file that is no text" : "no regular file";
  return `${path}, ${kind}, ${found?.size ?? 0} bytes`;
}

/** A file's text; undefined when it is not UTF-8 or larger than is shown. */
async function textOf(path: string): Promise<string | undefined> {
  const held = await hold(path);
  try {
    if (held.found.size > contentMaxBytes) return undefined;
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await readHeld(held, contentMaxBytes));
    return text.includes("\0") ? undefined : text;
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  } finally {
    await held.close();
  }
}
