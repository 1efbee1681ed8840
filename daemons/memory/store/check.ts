/**
 * No store is checked whole at the start. A check reads everything: seconds for a GB, and ready within 300 ms was asked
 * for. A file up to 2 MiB is checked at every start; a larger one when its daily backup is made, in a process of its
 * own and on the copy, which has the same pages. A page that SQLite finds damaged while in use leaves a mark, ends the
 * daemon, and makes the next start check everything.
 */
import { spawn } from "node:child_process";
import { setPriority } from "node:os";
import { problemIn } from "#lib/data/damaged";
import { messageOf } from "#lib/errors";

/** Says what is wrong with the database in a file that nobody has open; undefined when nothing is. */
export type Check = (path: string) => Promise<string | undefined>;

/** The word after the daemon's program that makes it check a file instead, and what follows it is the file. */
export const checkCommand = "check-database";

const niceness = 19;

/** A check in a process of its own: the daemon goes on answering meanwhile. `program` is the daemon's own. */
export function checkApart(program: readonly string[]): Check {
  return (path) =>
    new Promise((resolve) => {
      const [command = "", ...words] = program;
      const child = spawn(command, [...words, checkCommand, path], { stdio: ["ignore", "pipe", "ignore"], env: {} });
      if (child.pid !== undefined) setPriority(child.pid, niceness);
      let said = "";
      child.stdout.on("data", (chunk: Buffer) => {
        said += chunk.toString("utf8");
      });
      child.once("error", (error) => resolve(`the check does not start: ${error.message}`));
      child.once("close", (code, signal) => {
        if (code === 0) resolve(undefined);
        else resolve(said.trim() || `the check ended (${signal ?? `exit code ${code}`})`);
      });
    });
}

/** Runs as the checking process. Returns its exit code. */
export function runCheck(path: string, say: (line: string) => void): number {
  try {
    const problem = problemIn(path);
    if (problem !== undefined) say(problem);
    return problem === undefined ? 0 : 1;
  } catch (error) {
    say(messageOf(error));
    return 1;
  }
}
