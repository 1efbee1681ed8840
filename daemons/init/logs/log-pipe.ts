import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { beginning, textWithin } from "#lib/text";
import type { Allowance } from "./log-allowance.ts";

export const pipeLimits = {
  /** The longest line, characters. What is longer goes on in the next. */
  lineLength: 8_192,
  /** When a program ends while its lines are dropped, this many of its last ones are kept: they say why. */
  lastLines: 20,
} as const;

/**
 * Takes what a program writes to one of its pipes as lines, until the pipe ends: what came after the last line's end is a
 * line as well. Lines beyond the allowance are dropped, and a program that writes faster than that is read waits.
 */
export function readLines(stream: Readable, allowance: Allowance, add: (line: string) => void): void {
  const text = new StringDecoder("utf8");
  let rest = "";
  /** The end of what was dropped, while nothing was taken after it. */
  let lost: Buffer | undefined;

  const take = (more: string) => {
    const lines = (rest + more).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) addLine(line);
    while (rest.length > pipeLimits.lineLength) rest = addPiece(rest);
  };
  /** Adds as much of a line as fits into one; gives back the rest. */
  const addPiece = (line: string) => {
    const piece = beginning(line, pipeLimits.lineLength);
    if (allowance.takesLine()) add(piece);
    return line.slice(piece.length);
  };
  const addLine = (line: string) => {
    let left = addPiece(line);
    while (left !== "") left = addPiece(left);
  };
  const drop = (chunk: Buffer) => {
    allowance.drop(countLines(chunk));
    text.end();
    rest = "";
    lost = endOf(lost, chunk);
  };
  /** The rest of the line in whose middle the taking begins again is no line. */
  const fromLineStart = (chunk: Buffer) => {
    const broken = lost !== undefined && lost.at(-1) !== newline;
    lost = undefined;
    if (!broken) return chunk;
    const end = chunk.indexOf(newline);
    allowance.drop(1);
    return end === -1 ? undefined : chunk.subarray(end + 1);
  };

  stream.on("data", (chunk: Buffer) => {
    if (!allowance.takes(chunk.length)) drop(chunk);
    else {
      const whole = fromLineStart(chunk);
      if (whole === undefined) lost = endOf(undefined, chunk);
      else take(text.write(whole));
    }
    const paused = allowance.full();
    if (paused === undefined) return;
    stream.pause();
    paused.then(() => stream.resume());
  });
  // A pipe that breaks has ended.
  stream.on("error", () => {});
  stream.once("close", () => {
    take(text.end());
    if (rest !== "") addLine(rest);
    if (lost === undefined) return;
    allowance.tell();
    for (const line of lastLinesOf(lost)) add(line);
  });
}

const newline = 0x0a;

function countLines(chunk: Buffer): number {
  let count = 0;
  // By index: an iterator takes four times as long, and this is most of what a flood costs.
  for (let at = 0; at < chunk.length; at += 1) if (chunk[at] === newline) count += 1;
  return count;
}

/** As much of what was dropped as last lines are taken from: a program's last ones may come one by one. */
function endOf(before: Buffer | undefined, chunk: Buffer): Buffer {
  const all = before === undefined || chunk.length >= pipeLimits.lineLength ? chunk : Buffer.concat([before, chunk]);
  return all.subarray(-pipeLimits.lineLength);
}

function lastLinesOf(end: Buffer): string[] {
  const text = textWithin(end).replace(/\n$/, "");
  return text.split("\n").slice(-pipeLimits.lastLines);
}
