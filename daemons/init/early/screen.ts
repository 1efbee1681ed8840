import { closeSync, constants, openSync, writeSync } from "node:fs";
import { messageOf } from "#lib/errors";
import { beginning } from "#lib/text";

/** Where PID 1 speaks: the serial console, and the kernel's log for what must outlive it. */
export interface Screen {
  /** One line of the boot's story. */
  say(line: string): void;
  /** Something went wrong inside init itself: to the kernel's log as well, where a panic's reader finds it. */
  fault(act: string, error: unknown): void;
  /** `notice` gets every line, the stacks of faults too: init's own log. */
  onLine(notice: (line: string) => void): void;
}

/** The longest line printed; the console is slow and shared with the kernel. */
const lineLengthMax = 400;

/**
 * Speaks through file descriptors, so that no write can throw or wait for a reader: a console that is gone (EPIPE) or
 * full (EAGAIN) costs the line and nothing else. `kernelLog` is /dev/kmsg, or undefined where the kernel is another's.
 */
export function openScreen(console: number, kernelLog: string | undefined): Screen {
  const notices: ((line: string) => void)[] = [];
  const keep = (line: string) => {
    for (const notice of notices) notice(line);
  };
  const say = (line: string) => {
    const text = printable(line);
    keep(text);
    tryWrite(console, `${text}\n`);
  };
  return {
    say,
    onLine: (notice) => notices.push(notice),
    fault(act, error) {
      const text = printable(`aios-init: ${act}: ${messageOf(error)}`);
      const stack = error instanceof Error ? (error.stack ?? "") : "";
      keep(`${text}\n${stack}`);
      if (kernelLog === undefined) tryWrite(console, `${text}\n`);
      else toKernel(kernelLog, `${text} ${printable(stack)}`);
    },
  };
}

function tryWrite(file: number, text: string): void {
  try {
    writeSync(file, text);
  } catch {
    // Nobody reads the console: the boot goes on without it.
  }
}

/** Priority 2 (critical) is shown on the console at every kernel log level. */
function toKernel(path: string, text: string): void {
  try {
    const file = openSync(path, constants.O_WRONLY);
    writeSync(file, `<2>${beginning(text, 900)}`);
    closeSync(file);
  } catch {
    // No kernel log to write to: there is nowhere left to say so.
  }
}

/** One line without control characters: what daemons and devices say must not drive the terminal. */
export function printable(text: string): string {
  return beginning(text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ").trimEnd(), lineLengthMax);
}
