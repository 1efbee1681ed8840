import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { groupOf } from "#lib/linux/proc";
import type { Identity } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import type { Grants, Protection } from "../../access/index.ts";
import type { Holding } from "../../pipeline/index.ts";
import { allProcesses, commandLine, processOf, startedAt } from "../../proc.ts";
import { openDocuments, type State } from "../../state/index.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { absolutePath, named, type Outbound, object, sandboxLimits, timestamp } from "../shared/index.ts";
import { accountFor, checkEnvironment } from "./accounts.ts";
import { openCgroups } from "./cgroups.ts";
import { controlTools } from "./control.ts";
import { filesGranted } from "./granted-files.ts";
import { mayRead, openSpawned, type Spawned, type SpawnedProcesses, type Start } from "./spawned.ts";

/** Processes that are listed at most. */
const listMax = 2_000;

/** How long a spawned process may run unless told otherwise, and at most, seconds. */
const lifetimeDefaultSeconds = 3_600;
const lifetimeMaxSeconds = 86_400;

const waitMaxSeconds = 300;

const pid = Type.Integer({ minimum: 1, maximum: 2 ** 22, description: "a process's number" });

const outcome = {
  running: Type.Boolean(),
  exit_code: Type.Union([Type.Integer(), Type.Null()], {
    description: "null while it runs, or when a signal ended it",
  }),
  exit_signal: Type.Union([Type.String(), Type.Null()]),
};

const output = {
  stdout: Type.String(),
  stderr: Type.String(),
  truncated: Type.Boolean({ description: "of each stream the first 64 KiB and the last 192 KiB are kept" }),
};

interface ProcessWorld {
  readonly state: State;
  readonly clock: Clock;
  readonly outbound: Outbound;
  readonly grants: Grants;
  readonly protection: Protection;
  readonly holding: Holding;
}

/** Processes: those that these tools start are remembered, with what they wrote. */
export function processTools(world: ProcessWorld): readonly Tool[] {
  const { state, clock } = world;
  const cgroups = openCgroups();
  const spawned = openSpawned(openDocuments<Spawned>(state, "process"), cgroups, clock);
  world.holding.add("programs", (held) => spawned.hold(held));
  return [
    spawnTool(spawned, world),
    list,
    infoTool(spawned),
    outputTool(spawned),
    waitTool(spawned),
    ...controlTools(cgroups, spawned),
  ];
}

const limits = object({
  memory_max_mb: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_048_576 })),
  cpu_max_percent: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, description: "100 is one core" })),
  cpu_weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
  io_weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
  pids_max: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_536 })),
});

const spawnTool = (spawned: SpawnedProcesses, world: ProcessWorld) =>
  changes({
    name: "process.spawn",
    summary:
      "Starts a program with arguments, without a shell, and answers at once; process.wait and process.output tell of it. What an agent starts runs as the agent's own user, in a sandbox: the system's files and those that its grants of fs:read name, to read only, no network unless granted.",
    input: object({
      command: absolutePath,
      args: Type.Optional(Type.Array(Type.String({ maxLength: 65_536, pattern: "^[^\\u0000]*$" }), { maxItems: 256 })),
      env: Type.Optional(
        Type.Record(Type.String({ pattern: "^[A-Z_][A-Z0-9_]{0,63}$" }), Type.String({ pattern: "^[^\\u0000]*$" }), {
          maxProperties: 64,
          additionalProperties: false,
        }),
      ),
      cwd: Type.Optional(absolutePath),
      user: Type.Optional(Type.String({ pattern: "^[a-z_][a-z0-9_-]{0,31}$", description: "a user of the machine" })),
      limits: Type.Optional(limits),
      sandbox: Type.Optional(
        Type.Boolean({ description: "agents have no choice; for others without one unless given" }),
      ),
      network: Type.Optional(Type.Boolean({ description: "from the sandbox; agents need process:network" })),
      timeout_seconds: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: lifetimeMaxSeconds,
          description: "then it is killed; an hour unless given",
        }),
      ),
    }),
    output: object({
      pid,
      limits_applied: Type.Array(Type.String(), { description: "those limits that the kernel keeps" }),
    }),
    resources: { command: "path", cwd: "path" },
    uses: { command: "read", cwd: "read" },
    capabilities: ["process:spawn:{command}"],
    alsoNeeds: ["process:network"],
    undo: {
      prepare: async ({ caller, input: { env = {}, user, sandbox = false } }) => {
        checkEnvironment(caller, env);
        accountFor(caller, user, sandbox);
        return {};
      },
      // Ends the process. What it did until then is its own.
      restore: async (_, { executionId }) => {
        const started = spawned.ofExecution(executionId);
        if (started?.state === "running") spawned.kill(started);
      },
    },
    risk: "high",
    rootWhen: {
      what: "without a sandbox or as a user that is named",
      holds: ({ caller, input: { sandbox = false, user } }) =>
        caller.kind !== "agent" && (!sandbox || user !== undefined),
    },
    timeoutMs: 10_000,
    idempotent: false,
    preview: async ({ caller, input, resources: { command, cwd }, permits }) => {
      const sandbox = sandboxFor(caller, input, permits, world, cwd?.path);
      const where = sandbox === undefined ? "no sandbox" : `sandbox, ${sandbox.network ? "with" : "without"} network`;
      const { args = [], env = {}, timeout_seconds = lifetimeDefaultSeconds } = input;
      const limits = { ...(sandbox && sandboxLimits), ...input.limits };
      return [
        `runs ${JSON.stringify([command.path, ...args])}`,
        `in ${cwd?.path ?? "/"}, ${where}, at most ${timeout_seconds} s`,
        `environment ${JSON.stringify(env)}, limits ${JSON.stringify(limits)}`,
      ].join("\n");
    },
    run: ({ executionId, caller, input, resources: { command, cwd }, permits }) =>
      named("start", command.path, async () => {
        const { args = [], env = {}, limits = {}, timeout_seconds = lifetimeDefaultSeconds } = input;
        checkEnvironment(caller, env);
        const user = accountFor(caller, input.user, input.sandbox ?? false);
        const sandbox = sandboxFor(caller, input, permits, world, cwd?.path);
        const started = await spawned.start({
          executionId,
          caller,
          program: command.path,
          command: input.command,
          args,
          cwd: cwd?.path ?? "/",
          env,
          ...(user !== undefined && { user }),
          sandbox,
          limits: sandbox === undefined ? limits : { ...sandboxLimits, ...limits },
          timeoutMs: timeout_seconds * 1000,
        });
        return { pid: started.pid, limits_applied: started.limited };
      }),
  });

/** Whose programs run in a sandbox: an agent's always, others' when they say so. Throws PERMISSION_DENIED for a network that was not granted. */
function sandboxFor(
  caller: Identity,
  { sandbox = false, network = false }: { readonly sandbox?: boolean; readonly network?: boolean },
  permits: (capability: string) => boolean,
  { outbound, grants, protection }: ProcessWorld,
  cwd: string | undefined,
): Start["sandbox"] {
  if (caller.kind !== "agent" && !sandbox) return undefined;
  if (network) outbound.check("start process with", "network");
  // Of a person nothing is granted: they name the folder that the program works on.
  const named = caller.kind === "agent" ? filesGranted(grants.held(caller.name)) : cwd === undefined ? [] : [cwd];
  const visible = named.filter((path) => isOpen(protection, path, caller));
  if (!network || permits("process:network")) return { network, visible };
  throw new AiosError("PERMISSION_DENIED", {
    act: "start process with",
    object: "network",
    reason: `${caller.name} holds no grant of process:network`,
    next: "leave network out, or ask the orchestrator for the grant",
  });
}

function isOpen(protection: Protection, path: string, caller: Identity): boolean {
  try {
    protection.check(path, "copy", caller);
    return true;
  } catch {
    return false;
  }
}

const described = {
  pid,
  parent: Type.Integer(),
  name: Type.String(),
  state: Type.String(),
  uid: Type.Integer(),
  threads: Type.Integer(),
  memory_mb: Type.Number({ description: "resident" }),
  cpu_ms: Type.Integer({ description: "processor time since its start" }),
};

const list = reads({
  name: "process.list",
  summary: "Lists the machine's processes, at most 2,000, those that take most memory first.",
  input: object({
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: "only those whose name holds this" })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: listMax })),
  }),
  output: object({ processes: Type.Array(object(described)), total: Type.Integer() }),
  capabilities: ["process:read"],
  timeoutMs: 10_000,
  run: ({ input: { name = "", limit = listMax } }) => {
    const all = allProcesses().filter((one) => one.name.includes(name));
    const processes = all.sort((a, b) => b.residentBytes - a.residentBytes || a.pid - b.pid).map(describe);
    return { processes: processes.slice(0, limit), total: all.length };
  },
});

function describe({ residentBytes, cpuMs, startTicks: _, ...facts }: ReturnType<typeof processOf>) {
  return { ...facts, memory_mb: Math.round((residentBytes / 2 ** 20) * 10) / 10, cpu_ms: cpuMs };
}

const infoTool = (spawned: SpawnedProcesses) =>
  reads({
    name: "process.info",
    summary:
      "Tells of one process: its command line, user, memory, control group; of one that process.spawn started also how it ended.",
    input: object({ pid }),
    output: object({
      ...outcome,
      name: Type.String(),
      cmdline: Type.Array(Type.String(), { description: "at most 4,096 characters" }),
      started_at: timestamp,
      spawned: Type.Boolean({ description: "process.spawn started it" }),
      details: Type.Optional(object({ ...described, cgroup: Type.String() })),
    }),
    capabilities: ["process:read"],
    // Command lines hold what others gave them.
    role: "operator",
    timeoutMs: 5_000,
    run: ({ input: { pid } }) => {
      const known = spawned.find(pid);
      const ended = known?.state === "ended";
      if (known !== undefined && ended) {
        const { command, args, startedAt: started_at } = known;
        return { ...outcomeOf(known), name: command, cmdline: bounded([command, ...args]), started_at, spawned: true };
      }
      const facts = processOf("describe", pid);
      return {
        running: true,
        exit_code: null,
        exit_signal: null,
        name: facts.name,
        cmdline: bounded(known === undefined ? commandLine(pid) : [known.command, ...known.args]),
        started_at: startedAt(facts),
        spawned: known !== undefined,
        details: { ...describe(facts), cgroup: groupOf("/proc", pid) },
      };
    },
  });

const outputTool = (spawned: SpawnedProcesses) =>
  reads({
    name: "process.output",
    summary: "Gives what a process that process.spawn started has written until now.",
    input: object({ pid }),
    output: object({ ...outcome, ...output }),
    capabilities: ["process:output"],
    role: "operator",
    timeoutMs: 5_000,
    run: ({ caller, input: { pid } }) => {
      const known = spawned.find(pid);
      if (known === undefined || !mayRead(caller, known)) throw notOurs(pid);
      const { stdout, stderr, truncated } = known;
      return { ...outcomeOf(known), stdout, stderr, truncated };
    },
  });

const waitTool = (spawned: SpawnedProcesses) =>
  reads({
    name: "process.wait",
    summary:
      "Waits until a process has ended, at most five minutes; of one that process.spawn started also tells how, and what it wrote.",
    input: object({
      pid,
      timeout_seconds: Type.Optional(
        Type.Integer({ minimum: 0, maximum: waitMaxSeconds, description: "60 unless given" }),
      ),
    }),
    output: object({ ...outcome, ...output }),
    capabilities: ["process:output"],
    role: "operator",
    timeoutMs: (waitMaxSeconds + 10) * 1000,
    run: async ({ caller, input: { pid, timeout_seconds = 60 }, signal }) => {
      if (spawned.find(pid) === undefined) processOf("wait for", pid);
      const ended = await spawned.wait(pid, timeout_seconds * 1000, signal);
      const known = spawned.find(pid);
      if (known === undefined || !mayRead(caller, known)) {
        return { running: !ended, exit_code: null, exit_signal: null, stdout: "", stderr: "", truncated: false };
      }
      const { stdout, stderr, truncated } = known;
      return { ...outcomeOf(known), stdout, stderr, truncated };
    },
  });

function outcomeOf({ state, exitCode, exitSignal }: Spawned) {
  return { running: state === "running", exit_code: exitCode, exit_signal: exitSignal };
}

/** The beginning of a command line. */
function bounded(words: readonly string[]): string[] {
  let room = 4096;
  return words.flatMap((word) => {
    const shown = beginning(word, Math.max(0, room)).toWellFormed();
    room -= word.length + 1;
    return shown === "" && word !== "" ? [] : [shown];
  });
}

function notOurs(pid: number): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "read output of",
    object: `process ${pid}`,
    reason: "process.spawn did not start it for you, or it is forgotten",
  });
}
