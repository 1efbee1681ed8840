import { readdirSync, readFileSync } from "node:fs";
import { $ } from "zx";
import { AiosError, errnoOf } from "#lib/errors";
import type { StepLog } from "./log.ts";

export interface CommandOptions {
  readonly log?: StepLog;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether the command line goes to the log (default: yes). */
  readonly announce?: boolean;
}

/**
 * No command of a build may take longer: a hung mirror or compiler must not hang the build for ever. The kernel with all
 * GPU drivers takes an hour of two cores, and more when they are busy with something else.
 */
const timeoutMs = 4 * 60 * 60_000;

/** What a command of the build sees of the environment it was started from: where programs are, how to reach the network. */
const passedOn = ["PATH", "HOME", "http_proxy", "https_proxy", "no_proxy"] as const;

/**
 * Runs a command with these words, which no shell takes apart, and returns its standard output. With a log, standard error goes there, and
 * the command is killed when the log's build ends early. Throws ABORTED with the command's name, its exit code and the last line it wrote.
 */
export async function command(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { log, env = {}, announce = true } = options;
  if (announce) log?.line(`+ ${argv.join(" ")}`);
  const inherited = Object.fromEntries(passedOn.flatMap((name) => ($.env[name] ? [[name, $.env[name]]] : [])));
  log?.stop.throwIfAborted();
  const running = $({
    env: { ...inherited, LC_ALL: "C.UTF-8", ...env },
    nothrow: true,
    quiet: true,
    timeout: timeoutMs,
    // zx starts it by bash, which takes a socket on standard input, as Node's pipes are, for a login from afar and runs the
    // person's ~/.bashrc first.
    stdio: ["ignore", "pipe", "pipe"],
  })`${argv}`;
  const kill = () => killTree(running.pid ?? 0);
  log?.stop.addEventListener("abort", kill);
  running.stderr.on("data", (chunk: Buffer) => log?.write(chunk));
  const result = await running.finally(() => log?.stop.removeEventListener("abort", kill));
  // Also where it ended well: what it waited for may have been killed before it.
  log?.stop.throwIfAborted();
  if (result.exitCode === 0) return result.stdout;
  throw failed(argv, result.exitCode ?? result.signal ?? "?", result.stderr || result.stdout);
}

/** Kills a process and all that it started, itself first: so that it does not go on when what it waits for ends. */
function killTree(pid: number): void {
  const parents = readdirSync("/proc").flatMap((entry): [pid: number, parent: number][] => {
    const stat = /^\d+$/.test(entry) ? readIfAny(`/proc/${entry}/stat`) : "";
    // The name, in parentheses, may hold anything; then come its state and its parent.
    const parent = /\) \S (\d+) [^)]*$/.exec(stat)?.[1];
    return parent === undefined ? [] : [[Number(entry), Number(parent)]];
  });
  const doomed = [pid];
  for (const one of doomed) doomed.push(...parents.filter(([, parent]) => parent === one).map(([child]) => child));
  for (const one of doomed.filter((each) => each > 1)) {
    try {
      process.kill(one, "SIGKILL");
    } catch (error) {
      if (errnoOf(error) !== "ESRCH") throw error;
    }
  }
}

/** The text of a file of /proc; nothing when the process is gone. */
function readIfAny(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function failed(argv: readonly string[], exit: number | string, output: string): AiosError {
  const said = output.trim().split("\n").at(-1) ?? "";
  return new AiosError("ABORTED", {
    act: "run",
    object: argv[0] ?? "",
    reason: `exit ${exit}${said === "" ? "" : `: ${said}`}`,
  });
}
