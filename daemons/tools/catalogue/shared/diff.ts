import { errnoOf } from "#lib/errors";
import { hold, type ResolvedPath, readHeld } from "../../files/index.ts";

/** Lines shown around a change. */
const contextLines = 3;

/** The unified diff, of one hunk, that writing `after` to a file would make. */
export async function diffOfWrite({ path }: ResolvedPath, after: string, bytesMax: number): Promise<string> {
  const before = await contentOf(path, bytesMax);
  return unifiedDiff(path, before, after);
}

/** A unified diff with one hunk, from the first line that differs to the last; `before` is undefined for a new file, `after` for one that goes. */
export function unifiedDiff(path: string, before: string | undefined, after: string | undefined): string {
  const from = linesOf(before ?? "");
  const to = linesOf(after ?? "");
  let start = 0;
  while (start < from.length && start < to.length && from[start] === to[start]) start += 1;
  let end = 0;
  while (end < from.length - start && end < to.length - start && from.at(-1 - end) === to.at(-1 - end)) end += 1;
  const heads = [`--- ${before === undefined ? "/dev/null" : path}`, `+++ ${after === undefined ? "/dev/null" : path}`];
  if (before !== undefined && after !== undefined && start === from.length && start === to.length)
    return `${heads.join("\n")}\nno change`;
  const first = Math.max(0, start - contextLines);
  const after3 = Math.min(end, contextLines);
  const [oldEnd, newEnd] = [from.length - end, to.length - end];
  return [
    ...heads,
    `@@ -${place(first, oldEnd + after3)} +${place(first, newEnd + after3)} @@`,
    ...from.slice(first, start).map((line) => ` ${line}`),
    ...from.slice(start, oldEnd).map((line) => `-${line}`),
    ...to.slice(start, newEnd).map((line) => `+${line}`),
    ...from.slice(oldEnd, oldEnd + after3).map((line) => ` ${line}`),
  ].join("\n");
}

const place = (first: number, end: number) => `${end > first ? first + 1 : first},${end - first}`;

/** The last line without its newline differs from one with it, as diff says it. */
function linesOf(text: string): string[] {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") return lines.slice(0, -1);
  return [...lines.slice(0, -1), `${lines.at(-1)}\n\\ No newline at end of file`];
}

async function contentOf(path: string, bytesMax: number): Promise<string | undefined> {
  try {
    const held = await hold(path);
    try {
      return (await readHeld(held, bytesMax)).toString("utf8");
    } finally {
      await held.close();
    }
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
