import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What a step has to say while it runs: a file per step, replaced at each run. */
export interface StepLog {
  readonly path: string;
  /** For the output of a child process. */
  readonly fd: number;
  line(text: string): void;
  /** The last lines, at most `count`. */
  tail(count: number): string;
  close(): void;
}

export function openStepLog(folder: string, name: string): StepLog {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.log`);
  const fd = openSync(path, "w");
  return {
    path,
    fd,
    line: (text) => void writeSync(fd, `${text}\n`),
    tail: (count) => readFileSync(path, "utf8").trimEnd().split("\n").slice(-count).join("\n"),
    close: () => closeSync(fd),
  };
}
