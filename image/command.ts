import { $ } from "zx";
import { AiosError } from "#lib/errors";
import type { StepLog } from "./log.ts";

export interface CommandOptions {
  readonly log?: StepLog;
  readonly env?: Readonly<Record<string, string>>;
  /** Written to its standard input, which is empty otherwise. */
  readonly input?: string;
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
 * Runs a command without a shell in between and returns its standard output. With a log, standard error goes there.
 * Throws ABORTED with the command's name, its exit code and the last line it wrote.
 */
export async function command(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { log, env = {}, input = "", announce = true } = options;
  if (announce) log?.line(`+ ${argv.join(" ")}`);
  const inherited = Object.fromEntries(passedOn.flatMap((name) => ($.env[name] ? [[name, $.env[name]]] : [])));
  const result = await $({
    env: { ...inherited, LC_ALL: "C.UTF-8", ...env },
    input,
    nothrow: true,
    quiet: true,
    timeout: timeoutMs,
    stdio: ["pipe", "pipe", log === undefined ? "pipe" : log.fd],
  })`${argv}`;
  if (result.exitCode !== 0)
    throw failed(argv, result.exitCode ?? result.signal ?? "?", result.stderr || result.stdout);
  return result.stdout;
}

/** As {@link command}, with standard output in the log too. */
export async function logged(argv: readonly string[], log: StepLog, options: CommandOptions = {}): Promise<void> {
  log.line((await command(argv, { ...options, log })).trimEnd());
}

function failed(argv: readonly string[], exit: number | string, output: string): AiosError {
  const said = output.trim().split("\n").at(-1) ?? "";
  return new AiosError("ABORTED", {
    act: "run",
    object: argv[0] ?? "",
    reason: `exit ${exit}${said === "" ? "" : `: ${said}`}`,
  });
}
