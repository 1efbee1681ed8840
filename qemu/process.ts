import { type ChildProcess, spawn } from "node:child_process";
import { AiosError, errnoOf } from "#lib/errors";
import type { End } from "./console.ts";

/** Prefix of a command that is killed when this process ends, however it ends. */
export const dieWithUs = ["setpriv", "--pdeathsig", "KILL", "--"] as const;

export interface Started {
  readonly child: ChildProcess;
  /** Resolves when it has ended and all it printed was read. */
  readonly ended: Promise<End>;
}

/**
 * Starts a program of the host with pipes: standard input, output, error and one more (3). It has its own session: a
 * Ctrl-C at the terminal is for us alone, who then end it in order.
 * Throws FAILED_PRECONDITION when it is not installed.
 */
export async function startProcess(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<Started> {
  const [command = "", ...args] = argv;
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe", "pipe"], env, detached: true });
  const ended = new Promise<End>((resolve) => {
    child.once("close", (status, signal) => resolve({ status: status ?? undefined, signal: signal ?? undefined }));
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => {
      const reason = errnoOf(error) === "ENOENT" ? "it is not installed" : error.message;
      reject(
        new AiosError("FAILED_PRECONDITION", { act: "start", object: command, reason, next: 'run "sh ci/setup"' }),
      );
    });
  });
  return { child, ended };
}
