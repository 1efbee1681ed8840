import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What a step has to say while it runs: a file per step, replaced at each run. */
export interface StepLog {
  readonly path: string;
  /** Aborted when the build ends early: a command that writes here is killed then. */
  readonly stop: AbortSignal;
  line(text: string): void;
  /** Takes the output of a child process as it comes. */
  write(chunk: Uint8Array): void;
  /** The last lines, at most `count`. */
  tail(count: number): string;
  close(): void;
}

/** Who follows a log while it is written. */
export interface Follower {
  /** Aborted when the build ends early. */
  readonly stop: AbortSignal;
  /** Is given each line; true = it tells of progress alone and is not kept: a log that ends in 20 of these says nothing. */
  read(line: string): boolean;
}

const nobody: Follower = { stop: new AbortController().signal, read: () => false };

export function openStepLog(folder: string, name: string, { stop, read }: Follower = nobody): StepLog {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.log`);
  const fd = openSync(path, "w");
  const decoder = new TextDecoder();
  let open = "";
  const line = (text: string) => {
    if (!read(text)) writeSync(fd, `${text}\n`);
  };
  return {
    path,
    stop,
    line: (text) => text.split("\n").forEach(line),
    write(chunk) {
      const lines = (open + decoder.decode(chunk, { stream: true })).split("\n");
      open = lines.pop() ?? "";
      lines.forEach(line);
    },
    tail: (count) => readFileSync(path, "utf8").trimEnd().split("\n").slice(-count).join("\n"),
    close() {
      if (open !== "") line(open);
      closeSync(fd);
    },
  };
}
