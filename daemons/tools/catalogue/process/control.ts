import * as Type from "typebox";
import { systemClock } from "#lib/clock";
import { AiosError, errnoOf } from "#lib/errors";
import { groupOf } from "#lib/linux/proc";
import { commandLine, lives, type ProcessFacts, programOf, signallable } from "../../proc.ts";
import { changes, type Tool, type ToolCall, type Undo } from "../../tool.ts";
import { object } from "../shared/index.ts";
import type { Cgroups, LimitName } from "./cgroups.ts";
import type { SpawnedProcesses } from "./spawned.ts";

const pid = Type.Integer({ minimum: 1, maximum: 2 ** 22, description: "a process's number" });

const signals = ["HUP", "INT", "TERM", "KILL", "USR1", "USR2", "STOP", "CONT", "WINCH", "QUIT"] as const;

/** How long a process is given to end by itself unless told otherwise, and at most, seconds. */
const graceDefaultSeconds = 5;
const graceMaxSeconds = 60;
const lookAgainMs = 20;

export const controlTools = (cgroups: Cgroups, spawned: Started): readonly Tool[] => [
  signalTool(spawned),
  killTool(spawned),
  cgroupTool(cgroups, spawned),
];

type Started = Pick<SpawnedProcesses, "startedFor">;
type Given = Pick<ToolCall<unknown, object>, "caller" | "permits">;

/** The capability for a process that the caller did not start: it names the program. */
const alsoNeeds = ["process:end:{program}"] as const;

/** The process that a caller may act on: what it started, or what it was granted by the program's name. */
function target(act: string, pid: number, spawned: Started, { caller, permits }: Given): ProcessFacts {
  const facts = signallable(act, pid);
  if (caller.kind !== "agent" || spawned.startedFor(caller, pid)) return facts;
  const needed = `process:end:${programOf(pid)}`;
  if (permits(needed)) return facts;
  throw new AiosError("PERMISSION_DENIED", {
    act,
    object: `process ${pid} (${facts.name})`,
    reason: `${caller.name} did not start it`,
    next: `it needs a grant of ${needed}`,
  });
}

const signalTool = (spawned: Started) =>
  changes({
    name: "process.signal",
    summary:
      "Sends a signal to a process. The first process, threads of the kernel and the machine's daemons are left alone.",
    input: object({ pid, signal: Type.Enum([...signals]) }),
    output: object({ sent: Type.Boolean() }),
    capabilities: ["process:signal"],
    whenFull: "as ever",
    alsoNeeds,
    irreversible: "what a process does on a signal is its own",
    // Most of them end what does not expect them.
    risk: "high",
    timeoutMs: 5_000,
    idempotent: false,
    preview: async ({ input, ...call }) => {
      target("signal", input.pid, spawned, call);
      return `sends SIG${input.signal} to ${show(input.pid)}`;
    },
    run: ({ input, ...call }) => {
      target("signal", input.pid, spawned, call);
      return { sent: send(input.pid, `SIG${input.signal}`) };
    },
  });

const killTool = (spawned: Started) =>
  changes({
    name: "process.kill",
    summary: "Ends a process: asks it (TERM), and kills it when it has not ended after grace_seconds (5 unless given).",
    input: object({
      pid,
      grace_seconds: Type.Optional(
        Type.Integer({ minimum: 0, maximum: graceMaxSeconds, description: "0 kills at once" }),
      ),
    }),
    output: object({ ended: Type.Boolean(), signal: Type.Enum(["TERM", "KILL"]) }),
    capabilities: ["process:kill"],
    whenFull: "as ever",
    alsoNeeds,
    irreversible: "a process that ended cannot be brought back",
    risk: "high",
    timeoutMs: (graceMaxSeconds + 10) * 1000,
    idempotent: false,
    preview: async ({ input: { pid }, ...call }) => {
      target("kill", pid, spawned, call);
      return `ends ${show(pid)}`;
    },
    run: async ({ input: { pid, grace_seconds = graceDefaultSeconds }, signal, ...call }) => {
      const { startTicks } = target("kill", pid, spawned, call);
      if (grace_seconds > 0) {
        send(pid, "SIGTERM");
        if (await ends(pid, startTicks, grace_seconds * 1000, signal)) return { ended: true, signal: "TERM" as const };
      }
      if (lives(pid, startTicks)) send(pid, "SIGKILL");
      return { ended: await ends(pid, startTicks, 2_000, signal), signal: "KILL" as const };
    },
  });

/** A process for people; with its start, so that another one of the same number is not taken for it. */
function show(pid: number): string {
  const facts = signallable("show", pid);
  const who = `${facts.name}, user ${facts.uid}, begun ${(facts.startTicks / 100).toFixed(2)} s after boot`;
  return `process ${pid} (${who}): ${JSON.stringify(commandLine(pid))}`;
}

/** False when it had ended already. */
function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if (errnoOf(error) === "ESRCH") return false;
    throw error;
  }
}

async function ends(pid: number, startTicks: number, withinMs: number, signal: AbortSignal): Promise<boolean> {
  for (let waitedMs = 0; lives(pid, startTicks); waitedMs += lookAgainMs) {
    if (waitedMs >= withinMs) return false;
    signal.throwIfAborted();
    await systemClock.sleep(lookAgainMs);
  }
  return true;
}

interface GroupPlan {
  readonly group: string;
  readonly stood: boolean;
  readonly limits: Partial<Record<LimitName, string>>;
  /** The process that is moved into it, and the group it comes from. */
  readonly moved?: { readonly pid: number; readonly startTicks: number; readonly from: string };
}

type GroupInput = { group_name: string; pid?: number };

const undoGroup = (cgroups: Cgroups): Undo<GroupInput, Record<never, never>, GroupPlan> => ({
  prepare: async ({ input: { group_name: name, pid } }) => {
    const group = cgroups.open(name);
    const plan = { group: name, stood: group.exists(), limits: group.limits() };
    if (pid === undefined) return plan;
    return { ...plan, moved: { pid, startTicks: signallable("limit", pid).startTicks, from: groupOf("/proc", pid) } };
  },
  restore: async ({ group: name, stood, limits, moved }) => {
    const group = cgroups.open(name);
    if (moved !== undefined && lives(moved.pid, moved.startTicks)) cgroups.moveTo(moved.pid, moved.from);
    if (stood) {
      if (!group.exists()) group.make();
      group.write(limits);
    } else {
      group.remove();
    }
  },
});

const cgroupTool = (cgroups: Cgroups, spawned: Started) =>
  changes({
    name: "process.cgroup",
    summary:
      "Makes a control group, sets its limits, puts a process into it, or removes it when it is empty; tells of it as it is then.",
    input: object({
      group_name: Type.String({ pattern: "^[a-z0-9][a-z0-9-]{0,63}$", description: "a name" }),
      pid: Type.Optional(pid),
      memory_max_mb: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_048_576 })),
      cpu_max_percent: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, description: "100 is one core" })),
      cpu_weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
      io_weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
      pids_max: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_536 })),
      remove: Type.Optional(Type.Boolean()),
    }),
    output: object({
      exists: Type.Boolean(),
      pids: Type.Array(Type.Integer()),
      limits: Type.Record(Type.String(), Type.String()),
      limits_applied: Type.Array(Type.String(), { description: "those limits that the kernel keeps" }),
    }),
    capabilities: ["process:cgroup"],
    alsoNeeds,
    undo: undoGroup(cgroups),
    risk: "medium",
    timeoutMs: 10_000,
    idempotent: true,
    exclusive: "cgroups",
    run: ({ input: { group_name, pid, remove = false, ...limits }, ...call }) => {
      if (pid !== undefined && !remove) target("limit", pid, spawned, call);
      const group = cgroups.open(group_name);
      if (remove) group.remove();
      else group.make();
      const applied = remove ? [] : group.limit(limits);
      if (pid !== undefined && !remove) group.add(pid);
      return { exists: group.exists(), pids: group.pids(), limits: group.limits(), limits_applied: applied };
    },
  });
