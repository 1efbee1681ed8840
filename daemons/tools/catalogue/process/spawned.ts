import { type ChildProcess, spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { type Clock, callAfter, timeoutSignal } from "#lib/clock";
import { AiosError, errnoOf } from "#lib/errors";
import { type Piped, startPiped, whenClosed } from "#lib/linux/pipes";
import { seccompFilter } from "#lib/linux/seccomp";
import type { Identity } from "#lib/rpc/service";
import { ending } from "#lib/text";
import { factsOf, lives } from "../../proc.ts";
import type { Documents } from "../../state/index.ts";
import { filterDescriptor, fixedEnvironment, sandboxCommand } from "../shared/index.ts";
import { type Capture, capture } from "./capture.ts";
import type { Cgroups, LimitName, Limits } from "./cgroups.ts";

/** Processes that run at once at most, and those that are remembered. */
const runningMax = 64;
const rememberedMax = 200;

/** Ended processes whose whole output is at hand. */
const recentMax = 16;

/** Output that outlives the daemon of a process that ended, characters of each stream. */
const rememberedLength = 32_768;

/** After a process's end, how long its pipes may stay open. */
const drainMs = 500;

/** How often a process is looked at that is not our child (any more). */
const lookAgainMs = 100;

/** A process that process.spawn started, as it is remembered. */
export interface Spawned {
  readonly executionId: string;
  readonly pid: number;
  readonly startTicks: number;
  readonly owner: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly startedAt: number;
  /** How long it may run. */
  readonly timeoutMs: number;
  /** Name of its control group; "" without one. */
  readonly group: string;
  readonly state: "running" | "ended";
  /** Null when a signal ended it, and when nobody saw it end. */
  readonly exitCode: number | null;
  readonly exitSignal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
}

export interface Start {
  readonly executionId: string;
  readonly caller: Identity;
  readonly program: string;
  /** As the caller named it: the program's name for itself. */
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** In a sandbox, with or without the network; undefined is without one. */
  readonly sandbox?: { readonly network: boolean; readonly visible: readonly string[] } | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly user?: { readonly uid: number; readonly gid: number };
  readonly limits: Limits;
  readonly timeoutMs: number;
}

export interface SpawnedProcesses {
  start(start: Start): Promise<{ pid: number; limited: LimitName[] }>;
  /** The newest with this pid, as it is now. */
  find(pid: number): Spawned | undefined;
  ofExecution(executionId: string): Spawned | undefined;
  /** Waits for the end of any process, ours or not; false when it still lives after `timeoutMs`. */
  wait(pid: number, timeoutMs: number, signal: AbortSignal): Promise<boolean>;
  /** Kills it and all it started. */
  kill(spawned: Spawned): void;
  /** Keeps what agents started, and start, from running on; or lets it. */
  hold(held: boolean): void;
  /** Whether the caller's own program, or what that started, is this process. */
  startedFor(caller: Identity, pid: number): boolean;
}

interface Running {
  readonly stdout: Capture;
  readonly stderr: Capture;
  readonly ended: Promise<void>;
}

const callFilter = seccompFilter("any");

const ownerOf = ({ kind, name }: Identity) => `${kind} ${name}`;

/** Whether the caller may see what a process wrote: agents see only what their own wrote. */
export const mayRead = (caller: Identity, { owner }: Spawned) => caller.kind !== "agent" || owner === ownerOf(caller);

export function openSpawned(documents: Documents<Spawned>, cgroups: Cgroups, clock: Clock): SpawnedProcesses {
  const running = new Map<string, Running>();
  /** Those that ended last, with all of their output. */
  const recent = new Map<string, Spawned>();
  const remember = (ended: Spawned) => {
    recent.set(ended.executionId, ended);
    for (const oldest of recent.keys()) if (recent.size > recentMax) recent.delete(oldest);
  };

  const now = (kept: Spawned): Spawned => {
    const live = running.get(kept.executionId);
    if (live !== undefined) return { ...kept, ...written(live) };
    const whole = recent.get(kept.executionId);
    if (whole !== undefined) return whole;
    // Started by an earlier run of the daemon: nobody saw how it ended.
    return kept.state === "running" && !lives(kept.pid, kept.startTicks) ? { ...kept, state: "ended" } : kept;
  };

  const kill = ({ pid, startTicks, group }: Spawned) => {
    if (group !== "" && cgroups.available) cgroups.open(group).kill();
    if (lives(pid, startTicks)) killGroup(pid);
  };

  const watch = (kept: Spawned, piped: Piped, timeoutMs: number): Running => {
    const inTime = callAfter(timeoutMs, () => kill(kept), "unheld");
    return seeToEnd(kept, piped, cgroups, async (how) => {
      inTime();
      running.delete(kept.executionId);
      if (kept.group !== "") cgroups.open(kept.group).remove();
      const ended: Spawned = { ...kept, ...how, state: "ended" };
      remember(ended);
      await documents.put(kept.executionId, shortened(ended)).catch(() => {});
    });
  };

  let held = false;

  resumeTimes(documents, clock, kill);

  return {
    startedFor: (caller, pid) => {
      const own = documents
        .list(rememberedMax)
        .filter(({ owner, state }) => owner === ownerOf(caller) && state === "running");
      for (let at = pid; at > 1; at = factsOf(at)?.parent ?? 0) {
        if (own.some((one) => one.pid === at && lives(at, one.startTicks))) return true;
      }
      return false;
    },
    start: async (start) => {
      if (running.size >= runningMax) throw tooMany();
      const piped = await started(start);
      const pid = piped.child.pid ?? 0;
      const { group, limited } = confine(cgroups, start, pid);
      const kept = recordOf(start, pid, group, clock.now());
      running.set(start.executionId, watch(kept, piped, start.timeoutMs));
      if (held && start.caller.kind === "agent") freeze(cgroups, kept, held);
      await documents.put(start.executionId, kept);
      await documents.keep(rememberedMax);
      return { pid, limited };
    },
    find: (pid) => {
      const found = documents.list(rememberedMax).find((one) => one.pid === pid);
      return found && now(found);
    },
    ofExecution: (executionId) => {
      const found = documents.get(executionId);
      return found && now(found);
    },
    wait: async (pid, timeoutMs, signal) => {
      const found = documents.list(rememberedMax).find((one) => one.pid === pid);
      const live = found && running.get(found.executionId);
      const giveUp = AbortSignal.any([signal, timeoutSignal(timeoutMs)]);
      if (live !== undefined) return Promise.race([live.ended.then(() => true), aborted(giveUp, signal)]);
      return ends(pid, found?.startTicks ?? factsOf(pid)?.startTicks, clock, giveUp, signal);
    },
    kill,
    hold: (now) => {
      held = now;
      for (const one of documents.list(rememberedMax).filter(ofAgent)) freeze(cgroups, one, held);
    },
  };
}

/** The record of a process that has just begun. */
const recordOf = (
  { executionId, caller, command, args, timeoutMs }: Start,
  pid: number,
  group: string,
  startedAt: number,
): Spawned => ({
  executionId,
  pid,
  startTicks: factsOf(pid)?.startTicks ?? 0,
  owner: ownerOf(caller),
  command,
  args,
  startedAt,
  timeoutMs,
  group,
  state: "running",
  exitCode: null,
  exitSignal: null,
  stdout: "",
  stderr: "",
  truncated: false,
});

type Ending = Pick<Spawned, "exitCode" | "exitSignal" | "stdout" | "stderr" | "truncated">;

/** Takes what a process writes, and ends with it what it started. `over` hears how it ended. */
function seeToEnd(
  { pid, group }: Spawned,
  piped: Piped,
  cgroups: Cgroups,
  over: (how: Ending) => Promise<void>,
): Running {
  const { child, stdout, stderr } = piped;
  let drained = () => {};
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => {
      if (group !== "") cgroups.open(group).kill();
      killGroup(pid);
      drained = callAfter(drainMs, () => {
        stdout.destroy();
        stderr.destroy();
      });
    });
    whenClosed(piped, (exitCode, exitSignal) => {
      drained();
      over({ exitCode, exitSignal, ...written(live) }).finally(resolve);
    });
  });
  const live = { stdout: capture(stdout), stderr: capture(stderr), ended };
  return live;
}

/** Gives the processes of an earlier run of the daemon the time that they were given then, and no more. */
function resumeTimes(documents: Documents<Spawned>, clock: Clock, kill: (spawned: Spawned) => void): void {
  for (const kept of documents.list(rememberedMax)) {
    if (kept.state !== "running" || !lives(kept.pid, kept.startTicks)) continue;
    const leftMs = Math.min(kept.startedAt + kept.timeoutMs - clock.now(), kept.timeoutMs);
    callAfter(leftMs, () => kill(kept), "unheld");
  }
}

/** With the end of its output only. */
function shortened(ended: Spawned): Spawned {
  const stdout = ending(ended.stdout, rememberedLength);
  const stderr = ending(ended.stderr, rememberedLength);
  const cut = stdout.length < ended.stdout.length || stderr.length < ended.stderr.length;
  return { ...ended, stdout, stderr, truncated: ended.truncated || cut };
}

function written({ stdout, stderr }: Running) {
  return { stdout: stdout.text(), stderr: stderr.text(), truncated: stdout.truncated() || stderr.truncated() };
}

function started(start: Start): Promise<Piped> {
  return new Promise((resolve, reject) => {
    const piped = startPiped(
      (...output) => (start.sandbox === undefined ? plain(start, output) : inSandbox(start, start.sandbox, output)),
      start.user,
    );
    const { child } = piped;
    child.once("spawn", () => resolve(piped));
    child.once("error", (error) => {
      const reason = errnoOf(error) ?? "it cannot be started";
      const fault = { act: "start", object: child.spawnfile, reason };
      reject(new AiosError("FAILED_PRECONDITION", fault, { cause: error }));
    });
  });
}

function plain({ program, command, args, cwd, env, user }: Start, output: readonly number[]): ChildProcess {
  return spawn(program, args, {
    argv0: command,
    cwd,
    env: { ...fixedEnvironment, ...env },
    stdio: ["ignore", ...output],
    detached: true,
    ...user,
  });
}

function inSandbox(start: Start, sandbox: NonNullable<Start["sandbox"]>, output: readonly number[]): ChildProcess {
  const { program, args, cwd, env, user } = start;
  const [bubblewrap, ...words] = sandboxCommand({ program, args, cwd, ...sandbox });
  const child = spawn(bubblewrap, words, {
    cwd: "/",
    env: { ...fixedEnvironment, ...env },
    stdio: ["ignore", ...output, "pipe"],
    detached: true,
    ...user,
  });
  const filter = child.stdio[filterDescriptor] as Writable;
  // It is gone when the sandbox cannot be made, which its exit tells.
  filter.on("error", () => {});
  filter.end(callFilter);
  return child;
}

/** Puts a process into a control group of its own. Without control groups it runs unconfined, and the answer says so. */
function confine(cgroups: Cgroups, { executionId, limits }: Start, pid: number) {
  if (!cgroups.available) return { group: "", limited: [] };
  const group = cgroups.open(executionId);
  try {
    group.make();
    const limited = group.limit(limits);
    group.add(pid);
    return { group: executionId, limited };
  } catch (error) {
    group.remove();
    // It ended at once, or the hierarchy is not ours to change.
    if (["ESRCH", "EROFS", "EACCES", "EPERM"].includes(errnoOf(error) ?? "")) return { group: "", limited: [] };
    throw error;
  }
}

const ofAgent = ({ state, owner }: Spawned) => state === "running" && owner.startsWith("agent ");

/** Keeps it and all it started from running on, or lets them. */
function freeze(cgroups: Cgroups, { pid, startTicks, group }: Spawned, held: boolean): void {
  if (group !== "" && cgroups.available && cgroups.open(group).freeze(held)) return;
  if (lives(pid, startTicks)) signalGroup(pid, held ? "SIGSTOP" : "SIGCONT");
}

const killGroup = (pid: number) => signalGroup(pid, "SIGKILL");

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

/** Looks until a process has ended; false when only the time is over. */
async function ends(
  pid: number,
  startTicks: number | undefined,
  clock: Clock,
  giveUp: AbortSignal,
  caller: AbortSignal,
): Promise<boolean> {
  while (startTicks !== undefined && lives(pid, startTicks)) {
    caller.throwIfAborted();
    if (giveUp.aborted) return false;
    await clock.sleep(lookAgainMs, caller);
  }
  return true;
}

/** False when only the time is over. */
function aborted(giveUp: AbortSignal, caller: AbortSignal): Promise<false> {
  return new Promise((resolve, reject) => {
    const end = () => (caller.aborted ? reject(caller.reason) : resolve(false));
    if (giveUp.aborted) end();
    giveUp.addEventListener("abort", end, { once: true });
  });
}

function tooMany(): AiosError {
  return new AiosError(
    "RESOURCE_EXHAUSTED",
    `start process: ${runningMax} spawned processes are running; wait for one to end, or kill one`,
  );
}
