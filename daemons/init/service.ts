import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Group } from "#lib/linux/cgroups";
import { type Call, type Identity, type Service, service } from "#lib/rpc/service";
import { InitService, UnitState as State, Unit as UnitMessage } from "#proto/aios/init";
import type { Boot } from "./boot/index.ts";
import { type Logs, logLimits } from "./logs/index.ts";
import type { Managed, ServiceSpec, Supervisor, UnitState, UnitStatus } from "./units/index.ts";

/** The machine behind the service. */
export interface Machine {
  readonly supervisor: Supervisor;
  readonly boot: Boot;
  readonly logs: Logs;
  readonly groups: ReadonlyMap<string, Group>;
  readonly managed: Managed;
  /** The managed units, by name. */
  readonly services: ReadonlyMap<string, ServiceSpec>;
  readonly clock: Clock;
  /** hardware.json */
  readonly hardwareJson: Buffer;
  /** Ends the machine. */
  end(act: "power-off" | "restart", reason: string): void;
}

/** A start or stop is answered when it has come to rest, or after this long with the state so far. */
const settleWithinMs = 8_000;
const linesDefault = 100;

/** The units are told to end this long after the answer: the console passes it on, and would end before it. */
const answerMs = 100;

const states: Readonly<Record<UnitState, UnitMessage["state"]>> = {
  stopped: State.UNIT_STOPPED,
  waiting: State.UNIT_WAITING,
  starting: State.UNIT_STARTING,
  ready: State.UNIT_READY,
  backoff: State.UNIT_BACKOFF,
  "crash-loop": State.UNIT_CRASH_LOOP,
  stopping: State.UNIT_STOPPING,
};

/** aios.init.Init over the machine. */
export function initService(machine: Machine): Service<typeof InitService> {
  const { supervisor, boot, logs, managed } = machine;

  const awaitRest = async (name: string, rest: (unit: UnitStatus) => boolean) => {
    const late = new AbortController();
    machine.clock.sleep(settleWithinMs, late.signal).then(
      () => late.abort(),
      () => {},
    );
    await supervisor.until(name, rest, late.signal);
    late.abort();
    return measure(machine, name);
  };
  const awaitStart = (name: string) =>
    awaitRest(name, ({ state }) => ["ready", "backoff", "crash-loop", "stopped"].includes(state));
  const enable = async (name: string, enabled: boolean) => {
    await managed.enable(name, enabled);
    return measure(machine, name);
  };

  return service(InitService, {
    listUnits: async () => {
      await managed.refresh();
      return { units: await Promise.all(supervisor.names().map((name) => measure(machine, name))) };
    },
    getUnit: async ({ name }) => {
      await managed.refresh();
      return measure(machine, name);
    },
    startUnit: async ({ name }) => {
      await managed.refresh();
      supervisor.start(name);
      return awaitStart(name);
    },
    stopUnit: async ({ name }) => {
      await managed.refresh();
      supervisor.status(name);
      // Goes on by itself when it takes longer than the answer.
      supervisor.stop(name).catch(() => {});
      return awaitRest(name, ({ state }) => state === "stopped");
    },
    restartUnit: async ({ name }) => {
      await managed.refresh();
      const before = supervisor.status(name).startedMs;
      supervisor.restart(name);
      return awaitRest(name, ({ state, startedMs }) => startedMs !== before && state !== "starting");
    },
    enableUnit: ({ name }) => enable(name, true),
    disableUnit: ({ name }) => enable(name, false),
    holdServices: async ({ held }, { identity }) => {
      onlyFor("tools", identity, "hold services");
      await managed.refresh();
      for (const { name, ofAgent } of machine.services.values()) if (ofAgent) machine.groups.get(name)?.freeze(held);
      return {};
    },
    watchKeyboard: async function* ({ word }, { identity, signal }) {
      onlyFor("console", identity, "watch the keyboard");
      const { openKeyboard, typed } = await import("./base/keyboard.ts");
      for await (const _ of typed(word, openKeyboard(), machine.clock, signal)) yield {};
    },
    watchUnits: (_, call) => watchUnits(machine, call),
    getBoot: () => ({
      bootId: boot.id,
      state: boot.state(),
      kernelStartAt: boot.kernelStartAt,
      firstJavascriptMs: boot.firstJavascriptMs,
      autonomyMs: boot.autonomyMs(),
      phases: boot.phases.map((phase, index) => ({ ...phase, number: index + 1 })),
      faults: [...boot.faults()],
      version: boot.version,
      clock: boot.time(),
    }),
    getHardware: () => ({ hardwareJson: machine.hardwareJson }),
    readLogs: async function* ({ unit, lines, follow }, { signal }) {
      checkLogs(unit, lines, supervisor);
      const count = lines === 0 ? linesDefault : lines;
      if (follow) yield* logs.follow(unit, count, signal);
      else yield* logs.tail(unit, count);
    },
    shutdown: ({ reason }, call) => end(machine, "power-off", reason, call),
    reboot: ({ reason }, call) => end(machine, "restart", reason, call),
  });
}

/** Refuses a call that one daemon alone may make. An operator's call through it is the operator's. */
function onlyFor(daemon: string, { kind, name }: Identity, act: string): void {
  if (kind !== "core" || name !== daemon) throw new AiosError("PERMISSION_DENIED", `${act}: not for ${name}`);
}

async function measure(machine: Machine, name: string): Promise<UnitMessage> {
  const unit = message(machine, name, machine.supervisor.status(name));
  const group = machine.groups.get(name);
  return { ...unit, memoryBytes: (await group?.memoryBytes()) ?? 0, cpuMs: group?.cpuMs() ?? 0 };
}

/** A unit without what has to be measured. */
function message({ supervisor, services }: Machine, name: string, unit: UnitStatus): UnitMessage {
  const service = services.get(name);
  return UnitMessage.fromPartial({
    name,
    state: states[unit.state],
    pid: unit.pid,
    startedAt: unit.startedAt,
    readyAfterMs: unit.readyMs === 0 ? 0 : Math.round(unit.readyMs - unit.startedMs),
    restarts: unit.restarts,
    reason: unit.reason,
    needs: [...supervisor.needs(name)],
    nextStartAt: unit.nextStartAt,
    managed: service !== undefined,
    enabled: service?.enabled ?? false,
    wanted: unit.wanted,
  });
}

/** Every unit, then each that has changed since it was last told: a slow reader misses steps, never the present state. */
async function* watchUnits(machine: Machine, { signal }: Call): AsyncIterable<UnitMessage> {
  const { supervisor } = machine;
  const changed = new Set(supervisor.names());
  let wake = () => {};
  const end = supervisor.onChange((name) => {
    changed.add(name);
    wake();
  });
  signal.addEventListener("abort", () => wake(), { once: true });
  try {
    while (!signal.aborted) {
      for (const name of [...changed]) {
        changed.delete(name);
        // A managed unit may have been forgotten since.
        if (supervisor.has(name)) yield message(machine, name, supervisor.status(name));
      }
      if (changed.size > 0 || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    end();
  }
}

function checkLogs(unit: string, lines: number, supervisor: Supervisor): void {
  if (lines < 0 || lines > logLimits.lines) {
    throw new AiosError("INVALID_ARGUMENT", `read logs: lines is ${lines}, expected 0 to ${logLimits.lines}`);
  }
  if (unit !== "" && unit !== "init") supervisor.status(unit);
}

function end(machine: Machine, act: "power-off" | "restart", reason: string, { identity }: Call) {
  const by = `${identity.kind} ${identity.name}`;
  const asked = `asked by ${by}${reason === "" ? "" : `: ${reason}`}`;
  machine.clock.sleep(answerMs).then(() => machine.end(act, asked));
  return { success: true, message: `${act} begins` };
}
