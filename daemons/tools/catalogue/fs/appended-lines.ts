/** Bytes at a file's end in which its kind of line end is looked for. */
export const lookedAtBytes = 65_536;

/**
 * A text as lines of its own at the end of a file that ends in `tail` (empty for a file that is empty, or not there): begun
 * anew where the last line has no end, ended, and with the line ends that the file has.
 */
export function asLines(text: string, tail: Buffer): string {
  const before = tail.toString("latin1");
  const end = /\r?\n(?=[^\n]*$)/.exec(before)?.[0] ?? "\n";
  const lines = text.replace(/\r?\n$/, "").replace(/\r?\n/g, end);
  return `${before === "" || before.endsWith("\n") ? "" : end}${lines}${end}`;
}
