import { stringify } from "smol-toml";
import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import type { Identity } from "#lib/rpc/service";
import { type Unit, UnitState } from "#proto/aios/init";
import { resolvePath } from "../../files/index.ts";
import { changes, type Tool, type ToolCall, type Undo } from "../../tool.ts";
import { contentMaxBytes, diffOfWrite, object, serviceName, undoWrite, writeFile } from "../shared/index.ts";
import { isPackaged, packagedService } from "./packaged.ts";
import type { Units } from "./units.ts";

/** Stopping may take the unit's ten seconds; starting, until its port answers. */
const timeoutMs = 30_000;

type Named = ToolCall<{ name: string }, object>;

const facts = {
  exclusive: "services",
  risk: "medium",
  timeoutMs,
  idempotent: true,
} as const;

/** The tools that change what runs. The daemons of aiOS are not theirs to stop: only to restart. */
export function serviceChanges(init: Units, etc: string, packaged: readonly string[]): readonly Tool[] {
  const input = object({ name: serviceName });
  const output = object({
    name: Type.String(),
    running: Type.Boolean(),
    ready: Type.Boolean(),
    pid: Type.Optional(Type.Integer({ description: "of its main process, when it runs" })),
    reason: Type.String({ description: "why it is in this state" }),
  });
  const capabilities = ["service:control:{name}"] as const;

  const start = changes({
    ...facts,
    name: "service.start",
    summary: "Starts a managed service, and answers when it is ready or has failed.",
    input,
    output,
    capabilities,
    undo: undoRunning(init),
    preview: (call) => showUnit(init, "start", call),
    run: async ({ input: { name }, signal }) => {
      mustBeManaged("start", await init.getUnit({ name }, { signal }));
      return runningOf(await init.startUnit({ name }, { signal, timeoutMs }), "start");
    },
  });

  const stop = changes({
    ...facts,
    name: "service.stop",
    summary: "Stops a managed service; an enabled one starts again at the next boot.",
    input,
    output,
    capabilities,
    whenFull: "as ever",
    undo: undoRunning(init),
    preview: (call) => showUnit(init, "stop", call),
    run: async ({ input: { name }, signal }) => {
      mustBeManaged("stop", await init.getUnit({ name }, { signal }));
      return stateOf(await init.stopUnit({ name }, { signal, timeoutMs }));
    },
  });

  const restart = changes({
    ...facts,
    name: "service.restart",
    summary: "Stops a service and starts it again: after its configuration was changed, or when it misbehaves.",
    input,
    output,
    capabilities,
    idempotent: false,
    irreversible: "a process that has ended cannot be brought back",
    preview: (call) => showUnit(init, "restart", call),
    run: async ({ input: { name }, signal }) => {
      mustNotBeOurs(name);
      return runningOf(await init.restartUnit({ name }, { signal, timeoutMs }), "restart");
    },
  });

  const enabling = (verb: "enable" | "disable", enabled: boolean, summary: string) =>
    changes({
      ...facts,
      name: `service.${verb}`,
      summary,
      input,
      output: object({ name: Type.String(), enabled: Type.Boolean() }),
      capabilities,
      undo: undoEnabling(init),
      preview: (call) => showUnit(init, verb, call),
      run: async ({ input: { name }, signal }) => {
        mustBeManaged(verb, await init.getUnit({ name }, { signal }));
        const unit = await setEnabled(init, name, enabled, signal);
        return { name, enabled: unit.enabled };
      },
    });

  return [
    define(init, etc, packaged),
    start,
    stop,
    restart,
    enabling("enable", true, "Has a managed service started at every boot; it is not started now."),
    enabling("disable", false, "Has a managed service no longer started at boot; one that runs goes on."),
  ];
}

/** A user that is this service's alone: PID 1 gives it a number, and no other right. */
const ownUser = "own";

const definition = {
  name: serviceName,
  argv: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
      minItems: 1,
      maxItems: 64,
      description: "the program's absolute path and its arguments; it stays in the foreground",
    }),
  ),
  packaged: Type.Optional(
    Type.Boolean({ description: "instead of argv and user: as the package that brought it describes it" }),
  ),
  user: Type.Optional(
    Type.String({
      pattern: "^[a-z_][a-z0-9_-]{0,31}$",
      description: `an account of the machine, or "${ownUser}" for one of its own, which an agent's has if not given; others' is root`,
    }),
  ),
  network: Type.Optional(
    Type.Boolean({
      description: `whether it has the machine's network under a user of its own; if not given, when it has a ready_port`,
    }),
  ),
  restart: Type.Optional(
    Type.Enum(["always", "on-failure", "never"], {
      description:
        "when PID 1 starts it again; one that it does not, and that is enabled or watched, the agents restore",
    }),
  ),
  ready_port: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 65_535, description: "a TCP port on loopback that answers when it is ready" }),
  ),
  memory_mib: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_048_576, description: "the most memory it gets" })),
  pids_max: Type.Optional(Type.Integer({ minimum: 1, maximum: 32_768, description: "the most processes it gets" })),
  enabled: Type.Optional(Type.Boolean({ description: "started at every boot; as it was if not given" })),
  start: Type.Optional(
    Type.Boolean({ description: "start it now, or again when it runs, and answer when it is ready or has failed" }),
  ),
};

interface Definition {
  readonly name: string;
  readonly argv?: readonly string[];
  readonly packaged?: boolean;
  readonly user?: string;
  readonly network?: boolean;
  readonly ready_port?: number;
  readonly enabled?: boolean;
  readonly start?: boolean;
}

/** The program to run, and its user: as the package says, or as the call says. Throws INVALID_ARGUMENT and FAILED_PRECONDITION. */
function programOf({ name, argv, packaged = false, user }: Definition, caller: Identity, folders: readonly string[]) {
  if ((argv !== undefined || user !== undefined) === packaged || (argv === undefined && !packaged))
    throw new AiosError(
      "INVALID_ARGUMENT",
      `define service ${name}: give argv, or "packaged" and neither argv nor user`,
    );
  if (argv !== undefined) return { argv, user: user ?? (caller.kind === "agent" ? ownUser : "root") };
  const found = packagedService(name, folders);
  if (found === undefined)
    throw refused("define", name, "no package that is installed describes a service of this name");
  if (typeof found === "string") throw refused("define", name, `as its package describes it ${found}`);
  return found;
}

/** A port to answer at means the machine's network, unless told. */
const hasNetwork = ({ network, ready_port }: Definition) => network ?? ready_port !== undefined;

/**
 * Whether a definition is more than a program under a user of its own: another user, the network or a program that was not
 * granted. What a package runs is the package's, and agents are granted each package; a person is asked for the right to be root,
 * and so is an agent that acts for one who has it not.
 */
function isMoreThanConfined(
  { input, caller, permits }: ToolCall<Definition, object>,
  folders: readonly string[],
  bounded: boolean,
): boolean {
  const { argv, user } = programOf(input, caller, folders);
  const packaged = caller.kind === "operator" || bounded ? undefined : packagedService(input.name, folders);
  if (typeof packaged === "object" && isPackaged(argv, user, packaged)) return false;
  if (user !== ownUser) return true;
  const network = hasNetwork(input);
  if (caller.kind !== "agent") return network;
  return !permits(`service:run:${argv[0]}`) || (network && !permits(`service:network:${input.name}`));
}

/** Describes a service for PID 1, in a file that people can read and change too. */
function define(init: Units, etc: string, folders: readonly string[]): Tool {
  const fileOf = (name: string) => resolvePath(`${etc}/services/${name}.toml`);
  // As the file tool's call: what that can take back, this can.
  const writing = async ({ input, ...call }: ToolCall<Definition, object>) => {
    const { start: _, packaged: __, ...given } = input;
    const program = programOf(input, call.caller, folders);
    const own = program.user === ownUser ? { network: hasNetwork(input) } : {};
    const by = call.caller.kind === "agent" ? { defined_by: `agent ${call.caller.name}` } : {};
    const described = { ...given, ...program, ...own, ...by };
    const path = await fileOf(input.name);
    // Written out, so that enabling and disabling it leave the text that it was defined with.
    const enabled = input.enabled ?? (await found(init, input.name))?.enabled ?? false;
    return { ...call, input: { path: path.path, content: stringify({ ...described, enabled }) }, resources: { path } };
  };
  return changes({
    ...facts,
    name: "service.define",
    summary:
      "Defines a service: a new unit that runs a program, or another definition of it; enables and starts it only when told so.",
    input: object(definition),
    output: object({
      path: Type.String({ description: "the file that describes it" }),
      ready: Type.Optional(Type.Boolean({ description: "it was started, and answers" })),
    }),
    capabilities: ["service:define:{name}"],
    alsoNeeds: ["service:run:{argv}", "service:network:{name}"],
    risk: "high",
    rootWhen: {
      what: "as root or another account, or with a program or the network that was not granted, unless it is an agent's, for an admin or the machine, and a package runs it so",
      holds: (call, bounded) => isMoreThanConfined(call, folders, bounded),
    },
    preview: async (call) => {
      await checkFree(init, call);
      const { input, resources } = await writing(call);
      return diffOfWrite(resources.path, input.content, contentMaxBytes);
    },
    undo: {
      prepare: async (call, backups) => undoWrite.prepare(await writing(call), backups),
      restore: async (plan, call) => {
        await undoWrite.restore(plan, call);
        // It looks at its files before it answers, and stops what is no longer described.
        await init.listUnits({});
      },
      ...(undoWrite.settle !== undefined && { settle: undoWrite.settle }),
    },
    run: async (call) => {
      const { input, resources, executionId } = await writing(call);
      const isNew = (await found(init, call.input.name)) === undefined;
      await checkFree(init, call);
      await writeFile(resources.path, Buffer.from(input.content), executionId);
      await checkTaken(init, call);
      const path = resources.path.path;
      if (call.input.start !== true) return { path };
      const { name } = call.input;
      const unit = await init.restartUnit({ name }, { signal: call.signal, timeoutMs });
      // What has never run is not tried for ever: whoever described it is told, and starts it when it is mended.
      if (isNew && !hasStarted(unit)) await init.stopUnit({ name }, { timeoutMs });
      return { path, ready: runningOf(unit, "start").ready };
    },
  });
}

/** A daemon's name is not free. */
async function checkFree(init: Units, { input: { name }, signal }: Named): Promise<void> {
  const { units } = await init.listUnits({}, { signal });
  if (name === "init" || units.some((unit) => unit.name === name && !unit.managed)) {
    throw refused("define", name, "a daemon of aiOS has this name");
  }
}

/** PID 1 checks more than a schema can: what it says of the file is the answer. */
async function checkTaken(init: Units, { input: { name }, signal }: Named): Promise<void> {
  const { units } = await init.listUnits({}, { signal });
  const { faults } = await init.getBoot({}, { signal });
  const fault = faults.find((text) => text.includes(`/services/${name}.toml`));
  if (fault === undefined && units.some((unit) => unit.name === name)) return;
  throw refused("define", name, fault ?? "PID 1 does not take it; the file is written");
}

interface RunningPlan {
  readonly name: string;
  readonly running: boolean;
}

/** Takes a start or a stop back: by the other. */
function undoRunning(init: Units): Undo<{ name: string }, object, RunningPlan> {
  return {
    prepare: async ({ input: { name }, signal }) => ({
      name,
      running: isMeantToRun(await init.getUnit({ name }, { signal })),
    }),
    restore: async ({ name, running }) => {
      const unit = await found(init, name);
      if (unit === undefined || isMeantToRun(unit) === running) return;
      if (running) runningOf(await init.startUnit({ name }, { timeoutMs }), "start");
      else await init.stopUnit({ name }, { timeoutMs });
    },
  };
}

/** Shows what a call would do to a unit, and how it is now. Without its pid: a restart meanwhile changes nothing of that. */
async function showUnit(init: Units, verb: string, { input: { name }, signal }: Named): Promise<string> {
  const unit = await init.getUnit({ name }, { signal });
  if (verb === "restart") mustNotBeOurs(name);
  else mustBeManaged(verb, unit);
  const boot = unit.enabled ? "starts at boot" : "does not start at boot";
  return `${verb} ${name}, ${unit.managed ? "a service" : "a daemon of aiOS"} that ${isMeantToRun(unit) ? "runs" : "is stopped"} and ${boot}`;
}

interface EnabledPlan {
  readonly name: string;
  readonly enabled: boolean;
}

function undoEnabling(init: Units): Undo<{ name: string }, object, EnabledPlan> {
  return {
    prepare: async ({ input: { name }, signal }) => ({
      name,
      enabled: (await init.getUnit({ name }, { signal })).enabled,
    }),
    restore: async ({ name, enabled }) => {
      const unit = await found(init, name);
      if (unit?.managed && unit.enabled !== enabled) await setEnabled(init, name, enabled);
    },
  };
}

/** A unit; undefined when there is none any more, and so nothing to take back. */
async function found(init: Units, name: string): Promise<Unit | undefined> {
  try {
    return await init.getUnit({ name });
  } catch (error) {
    if (error instanceof AiosError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

function setEnabled(init: Units, name: string, enabled: boolean, signal?: AbortSignal): Promise<Unit> {
  const options = signal === undefined ? {} : { signal };
  return enabled ? init.enableUnit({ name }, options) : init.disableUnit({ name }, options);
}

function mustBeManaged(act: string, { name, managed }: Unit): void {
  if (!managed) throw refused(act, name, "it is a daemon of aiOS; it can be restarted");
}

/** Its own answer would not come. */
function mustNotBeOurs(name: string): void {
  if (name === "tools") throw refused("restart", name, "it is the daemon that carries out this call");
}

const isMeantToRun = ({ state }: Unit) => state !== UnitState.UNIT_STOPPED && state !== UnitState.UNIT_STOPPING;

function stateOf({ name, pid, state, reason }: Unit) {
  return { name, running: pid > 0, ready: state === UnitState.UNIT_READY, ...(pid > 0 && { pid }), reason };
}

const hasStarted = ({ pid, state }: Unit) => pid > 0 || state === UnitState.UNIT_WAITING;

/** A unit that was started: it runs, or the start has failed. One that takes its time runs and is not ready. */
function runningOf(unit: Unit, act: string) {
  if (hasStarted(unit)) return stateOf(unit);
  throw new AiosError("FAILED_PRECONDITION", {
    act,
    object: `service ${unit.name}`,
    reason: unit.reason,
    next: `see service.logs {"name":"${unit.name}"}`,
  });
}

function refused(act: string, name: string, reason: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", { act, object: `service ${name}`, reason });
}
