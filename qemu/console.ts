import type { Readable } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { AiosError } from "#lib/errors";

/** One line of a machine's serial console. */
export interface ConsoleLine {
  readonly text: string;
  /** Milliseconds since the console was opened. */
  readonly atMs: number;
}

/** How a machine ended. */
export interface End {
  /** Exit status of the process that ran it; undefined when a signal ended it. */
  readonly status: number | undefined;
  readonly signal: string | undefined;
}

/** Lines kept; a boot prints a few hundred. */
const linesMax = 50_000;

/** Lines shown in an error, so that it explains itself. */
const linesShown = 25;

/** What a machine prints, collected with times; what tests wait on. */
export class Console {
  readonly lines: ConsoleLine[] = [];
  readonly #startMs = performance.now();
  readonly #listeners = new Set<(line: ConsoleLine) => void>();
  readonly #endListeners = new Set<() => void>();
  #partial = "";
  #end: End | undefined;

  /** Collects what `stream` carries from now on. */
  read(stream: Readable): void {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => this.#add(text));
  }

  /** The machine has ended: waits that are still open fail. */
  ended(end: End): void {
    if (this.#partial !== "") this.#add("\n");
    this.#end = end;
    for (const listener of this.#endListeners) listener();
  }

  /** Calls `listener` for every line, those already there first. Returns what stops it. */
  follow(listener: (line: ConsoleLine) => void): () => void {
    for (const line of this.lines) listener(line);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The first line that holds `wanted`, already printed or yet to come.
   * Throws DEADLINE_EXCEEDED after `timeoutMs`, UNAVAILABLE when the machine ends first, both with the last lines.
   */
  waitFor(
    wanted: string | RegExp,
    timeoutMs: number,
    after: ConsoleLine | undefined = undefined,
  ): Promise<ConsoleLine> {
    const matches = (line: ConsoleLine) =>
      typeof wanted === "string" ? line.text.includes(wanted) : wanted.test(line.text);
    const from = after === undefined ? 0 : this.lines.indexOf(after) + 1;
    const found = this.lines.slice(from).find(matches);
    if (found !== undefined) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        this.#listeners.delete(listener);
        this.#endListeners.delete(onEnd);
        act();
      };
      const listener = (line: ConsoleLine) => {
        if (matches(line)) settle(() => resolve(line));
      };
      const onEnd = () =>
        settle(() => reject(this.#fault("UNAVAILABLE", wanted, `the machine ended (${describeEnd(this.#end)})`)));
      const timer = setTimeout(
        () => settle(() => reject(this.#fault("DEADLINE_EXCEEDED", wanted, `not printed within ${timeoutMs} ms`))),
        timeoutMs,
      );
      this.#listeners.add(listener);
      this.#endListeners.add(onEnd);
      if (this.#end !== undefined) onEnd();
    });
  }

  /** The last lines, for a message. */
  tail(count = linesShown): string {
    return this.lines
      .slice(-count)
      .map(({ text, atMs }) => `  ${(atMs / 1000).toFixed(2).padStart(7)} ${text}`)
      .join("\n");
  }

  #add(text: string): void {
    const parts = (this.#partial + text).split("\n");
    this.#partial = parts.pop() ?? "";
    for (const part of parts) {
      const line = {
        text: stripVTControlCharacters(part.replaceAll("\r", "")),
        atMs: performance.now() - this.#startMs,
      };
      if (this.lines.length >= linesMax) this.lines.shift();
      this.lines.push(line);
      for (const listener of this.#listeners) listener(line);
    }
  }

  #fault(code: "UNAVAILABLE" | "DEADLINE_EXCEEDED", wanted: string | RegExp, reason: string): AiosError {
    return new AiosError(code, `wait for "${wanted}" on the console: ${reason}; its last lines:\n${this.tail()}`);
  }
}

function describeEnd(end: End | undefined): string {
  if (end === undefined) return "running";
  return end.signal === undefined ? `exit status ${end.status ?? "unknown"}` : `signal ${end.signal}`;
}
