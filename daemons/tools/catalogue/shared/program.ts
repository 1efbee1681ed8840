/**
 * What is not confined, and what holds it instead. Programs that must change the machine cannot have a view to read
 * only: apt and dpkg, nft, ip, mount, mkfs, podman (which makes its own containers), and cp, rm and tar, which work
 * through folders that the daemon holds open, and these would lead nowhere in another mount name space. They are given
 * arguments, never a line for a shell, built from a checked input with no word that could be an option; a fixed
 * environment; a deadline, after which their process group is killed; bounded output; and their daemon's memory and
 * process limits. The daemon that runs them is the most trusted there is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { callAfter, timeoutSignal } from "#lib/clock";
import { AiosError, errnoOf } from "#lib/errors";
import { type Piped, startPiped, whenClosed } from "#lib/linux/pipes";
import { seccompFilter } from "#lib/linux/seccomp";
import { cut, ending, textWithin } from "#lib/text";
import { type Argv, type Confinement, confinementCommand, filterDescriptor } from "./sandbox.ts";

/** Output of a program that is kept, bytes, unless told otherwise: of stdout and of stderr. */
const stdoutMaxBytes = 1024 * 1024;
const stderrMaxBytes = 64 * 1024;

/** How long a program may take unless told otherwise. A tool's own deadline ends it sooner. */
const timeoutMs = 60_000;

/** Between asking a program to end and killing it. */
const graceMs = 2_000;

/** After a program's end, how long its pipes may stay open: something it left behind may hold them. */
const drainMs = 500;

/** The environment of every program: nothing that a caller or the daemon's own start could have slipped in. */
export const fixedEnvironment = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LC_ALL: "C",
  HOME: "/root",
  TERM: "dumb",
} as const;

/** For programs that take a change back: a rollback has two minutes. */
export const undoSignal = () => timeoutSignal(110_000);

export interface ProgramOptions {
  /** Ends the program, and what it started, when aborted: a tool passes its call's. */
  readonly signal: AbortSignal;
  /** Written to its standard input, which is empty otherwise. */
  readonly input?: string | Uint8Array;
  /** Its working folder; "/" otherwise. */
  readonly cwd?: string;
  /** Beside or instead of {@link fixedEnvironment}. Only words of our own: nothing from a tool's input. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** Runs it in a sandbox, where it touches nothing but what is said. */
  readonly confine?: Confinement;
  /** Output beyond these is dropped, and {@link Ended} says so; the program goes on. */
  readonly stdoutMaxBytes?: number;
  readonly stderrMaxBytes?: number;
}

/** The result of a program that ran to its end. */
export interface Ended {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly exitSignal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Some output was dropped. */
  readonly truncated: boolean;
}

/**
 * Runs a program to its end. Rejects when it cannot be started (FAILED_PRECONDITION) and when it was ended because its time
 * was over (DEADLINE_EXCEEDED) or the signal was aborted (its reason); by then it and its process group are gone.
 * Any exit status resolves: see {@link succeed}.
 */
export async function runProgram(argv: Argv, options: ProgramOptions): Promise<Ended> {
  options.signal.throwIfAborted();
  const [program] = argv;
  const running = start(argv, options);
  const { child } = running;
  const stdout = gather(running.stdout, options.stdoutMaxBytes ?? stdoutMaxBytes);
  const stderr = gather(running.stderr, options.stderrMaxBytes ?? stderrMaxBytes);
  feed(child, options.input);
  const stopping = stopWhen(child, program, options);
  try {
    const { exitCode, exitSignal } = await ended(running, program, options.cwd);
    if (stopping.reason !== undefined) throw stopping.reason;
    const truncated = stdout.truncated() || stderr.truncated();
    return { exitCode, exitSignal, stdout: stdout.text(), stderr: stderr.text(), truncated };
  } finally {
    stopping.over();
  }
}

function start(argv: Argv, { confine, cwd = "/", env }: ProgramOptions): Piped {
  const [file, ...args] = confine === undefined ? argv : confinementCommand(argv, cwd, confine);
  // On descriptors of its own the sandbox reads its filter, and the files that are given.
  const given =
    confine === undefined ? [] : [callFilters[confine.processes ?? "any"], ...Object.values(confine.files ?? {})];
  const running = startPiped((stdout, stderr) =>
    spawn(file, args, {
      cwd: confine === undefined ? cwd : "/",
      env: { ...fixedEnvironment, ...env },
      stdio: ["pipe", stdout, stderr, ...given.map(() => "pipe" as const)],
      // A group of its own, so that what it starts ends with it.
      detached: true,
    }),
  );
  const { child } = running;
  given.forEach((content, at) => {
    const pipe = child.stdio[filterDescriptor + at] as Writable;
    // It is gone when the sandbox cannot be made, which its exit tells.
    pipe.on("error", () => {});
    pipe.end(content);
  });
  return running;
}

const callFilters = { any: seccompFilter("any"), one: seccompFilter("any", "one") } as const;

/** Runs a program that must succeed and returns its standard output. Throws FAILED_PRECONDITION with the last lines of what it said. */
export async function succeed(argv: Argv, options: ProgramOptions & { readonly act?: string }): Promise<string> {
  const result = await runProgram(argv, options);
  if (result.exitCode === 0) return result.stdout;
  throw programFailed(argv, result, options.act);
}

/** The error of a program that ended badly: what it was for, its exit and the end of what it said. */
export function programFailed(argv: Argv, { exitCode, exitSignal, stdout, stderr }: Ended, act = "run"): AiosError {
  const said = lastWords(stderr) || lastWords(stdout);
  const how = exitCode === null ? `ended by ${exitSignal}` : `exit status ${exitCode}`;
  return new AiosError("FAILED_PRECONDITION", {
    act,
    object: shown(argv),
    reason: said === "" ? how : `${how}: ${said}`,
  });
}

/** A command line for people: bounded, in one line. */
function shown(argv: Argv): string {
  const line = argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(" ");
  return cut(line, 300);
}

function lastWords(text: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  const last = lines.filter((line) => line !== "").slice(-5);
  return ending(last.join("; "), 1000);
}

function feed({ stdin }: ChildProcess, input: string | Uint8Array = ""): void {
  // A program that does not read its input to the end is no failure of ours.
  stdin?.on("error", () => {});
  stdin?.end(input);
}

interface Gathered {
  text(): string;
  truncated(): boolean;
}

/** The beginning of a stream; the rest is read and dropped, so that the writer does not block. */
function gather(stream: Readable, bytesMax: number): Gathered {
  const chunks: Buffer[] = [];
  let room = bytesMax;
  let dropped = false;
  stream.on("error", () => {});
  stream.on("data", (chunk: Buffer) => {
    dropped ||= chunk.length > room;
    if (room > 0) chunks.push(chunk.subarray(0, room));
    room -= Math.min(room, chunk.length);
  });
  const text = () => (dropped ? textWithin(Buffer.concat(chunks)) : Buffer.concat(chunks).toString("utf8"));
  return { text, truncated: () => dropped };
}

/** Ends the child's group when the caller or the time says so: asks first, then kills. */
function stopWhen(child: ChildProcess, program: string, options: ProgramOptions) {
  const limitMs = options.timeoutMs ?? timeoutMs;
  const stopping: { reason?: unknown; over(): void } = { over };
  let killing = () => {};
  const stop = (reason: unknown) => {
    if (stopping.reason !== undefined) return;
    stopping.reason = reason;
    endGroup(child, "SIGTERM");
    killing = callAfter(graceMs, () => endGroup(child, "SIGKILL"));
  };
  const aborted = () => stop(options.signal.reason);
  const inTime = callAfter(limitMs, () =>
    stop(new AiosError("DEADLINE_EXCEEDED", `run ${program}: not done after ${limitMs} ms; it was ended`)),
  );
  options.signal.addEventListener("abort", aborted, { once: true });
  function over(): void {
    inTime();
    killing();
    options.signal.removeEventListener("abort", aborted);
  }
  return stopping;
}

function endGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

/** Waits for the child and its pipes; what it left running in its group is killed. */
function ended(running: Piped, program: string, cwd: string | undefined) {
  const { child, stdout, stderr } = running;
  return new Promise<Pick<Ended, "exitCode" | "exitSignal">>((resolve, reject) => {
    child.once("error", (error) => reject(cannotStart(program, cwd, error)));
    let drained = () => {};
    child.once("exit", () => {
      endGroup(child, "SIGKILL");
      drained = callAfter(drainMs, () => {
        stdout.destroy();
        stderr.destroy();
      });
    });
    whenClosed(running, (exitCode, exitSignal) => {
      drained();
      resolve({ exitCode, exitSignal });
    });
  });
}

function cannotStart(program: string, cwd: string | undefined, error: Error): AiosError {
  const code = errnoOf(error);
  const missing = code === "ENOENT";
  return new AiosError(
    "FAILED_PRECONDITION",
    {
      act: "run",
      object: program,
      reason: missing ? "there is no such program on this machine" : (code ?? "it cannot be started"),
      ...(missing && { next: cwd === undefined ? "install it" : `install it, or see that ${cwd} is a folder` }),
    },
    { cause: error },
  );
}
