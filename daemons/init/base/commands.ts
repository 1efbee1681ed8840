import { callAfter } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { startPiped, whenClosed } from "#lib/linux/pipes";
import { ending } from "#lib/text";
import type { Children } from "./children.ts";

/** Runs a program of the system to its end. */
export type Run = (
  command: string,
  args: readonly string[],
  options?: {
    readonly input?: string;
    /** Killed after this long, milliseconds; 60 s unless given. */
    readonly timeoutMs?: number;
    /** Exit codes that are not failures; 0 unless given. */
    readonly codes?: readonly number[];
  },
) => Promise<{ readonly code: number; readonly output: string }>;

const timeoutDefaultMs = 60_000;
/** Characters of output kept. */
const outputLengthMax = 8192;
const searchPath = "/usr/sbin:/usr/bin:/sbin:/bin";

/** Runs commands as children of init. Rejects, with the end of what the command said, when it fails or cannot be started. */
export function commandRunner(children: Children): Run {
  return (command, args, { input = "", timeoutMs = timeoutDefaultMs, codes = [0] } = {}) =>
    new Promise((resolve, reject) => {
      const fail = (reason: string) =>
        reject(new AiosError("INTERNAL", { act: "run", object: [command, ...args].join(" "), reason }));
      const env = { PATH: searchPath, LANG: "C.UTF-8" };
      const piped = startPiped((stdout, stderr) =>
        children.spawn(command, args, { stdio: ["pipe", stdout, stderr], env }),
      );
      const { child } = piped;
      let output = "";
      for (const pipe of [piped.stdout, piped.stderr]) {
        pipe.setEncoding("utf8");
        pipe.on("data", (text: string) => {
          output = ending(output + text, outputLengthMax);
        });
      }
      child.stdin?.on("error", () => {});
      child.stdin?.end(input);
      const inTime = callAfter(timeoutMs, () => child.kill("SIGKILL"));
      child.once("error", (error) => {
        inTime();
        fail(error.message);
      });
      whenClosed(piped, (code, signal) => {
        inTime();
        if (code !== null && codes.includes(code)) resolve({ code, output });
        else fail(`${signal === null ? `exit code ${code}` : `ended by ${signal}`}: ${output.trim() || "no output"}`);
      });
    });
}
