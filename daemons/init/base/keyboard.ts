import { constants, openSync } from "node:fs";
import type { Readable } from "node:stream";
import { ReadStream } from "node:tty";
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { beginning } from "#lib/text";

/** A typed word; of a longer line the beginning is kept. */
const lineLengthMax = 100;

/**
 * Input that comes sooner after an answer is ignored: a pasted page is one answer, and a key that sticks is one now and
 * then.
 */
const pauseMs = 3_000;

/** The machine's own keyboard, which whoever stands before it types on. Throws FAILED_PRECONDITION where there is none. */
export function openKeyboard(): Readable {
  try {
    return new ReadStream(openSync("/dev/console", constants.O_RDWR | constants.O_NOCTTY));
  } catch (error) {
    throw new AiosError("FAILED_PRECONDITION", `read this machine's keyboard: ${messageOf(error)}`);
  }
}

/** The lines that come, without their ends. Stopping to read them closes `input`. */
export async function* linesOf(input: Readable): AsyncGenerator<string> {
  input.setEncoding("utf8");
  let partial = "";
  for await (const text of input) {
    const lines = (partial + text).split(/[\r\n]/);
    partial = beginning(lines.pop() ?? "", lineLengthMax);
    yield* lines;
  }
}

/**
 * Each time that someone types `word` and Enter, until `signal`. Whatever else comes is not answered: a serial line whose other
 * end sends back what it gets would never fall silent.
 */
export async function* typed(
  word: string,
  input: Readable,
  clock: Pick<Clock, "monotonic">,
  signal: AbortSignal,
): AsyncGenerator<void> {
  const end = () => input.destroy();
  signal.addEventListener("abort", end, { once: true });
  let heardAt = Number.NEGATIVE_INFINITY;
  try {
    for await (const line of linesOf(input)) {
      if (line.trim().toLowerCase() !== word || clock.monotonic() - heardAt < pauseMs) continue;
      heardAt = clock.monotonic();
      yield;
    }
  } catch (error) {
    if (!signal.aborted)
      throw new AiosError("FAILED_PRECONDITION", `read this machine's keyboard: ${messageOf(error)}`);
  } finally {
    signal.removeEventListener("abort", end);
    input.destroy();
  }
}
