import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import {
  type Restart,
  stoppedUnit,
  type Transition,
  transition,
  type UnitAction,
  type UnitEvent,
  type UnitStatus,
} from "./units.ts";

/** A unit as the supervisor needs to know it; the manifest's daemons are such. */
export interface UnitSpec {
  readonly name: string;
  readonly needs: readonly string[];
  readonly restart: Restart;
}

/** A started process. */
export interface UnitProcess {
  readonly pid: number;
  /** Resolves, in words ("ended by SIGKILL"), when it and every process it left behind are gone. */
  readonly ended: Promise<string>;
  terminate(): void;
  kill(): void;
}

/** The supervisor's acts on the world; tests pass a twin. */
export interface UnitWorld {
  /** Starts the unit's process. One that cannot be started has ended at once. */
  spawn(unit: string): UnitProcess;
  /**
   * Tells `notice` when the unit becomes ready, with the sign of it, and when it no longer is. Rejects with the reason
   * when the unit must be taken for hung.
   */
  watch(unit: string, notice: Readiness, signal: AbortSignal): Promise<void>;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
}

export type Readiness = (ready: boolean, reason?: string) => void;

/** Hears of each change, with the unit as it was before. */
type Notice = (name: string, now: UnitStatus, before: UnitStatus) => void;

/** A process told to end is killed after this long. */
export const stopGraceMs = 10_000;

interface Unit {
  spec: UnitSpec;
  status: UnitStatus;
  process?: UnitProcess;
  /** Aborted when nobody asks for its health any more. */
  watch: AbortController;
  /** The wait in progress: for the next start, or for an end. */
  timer: AbortController;
}

/** Keeps units running: each in a state of {@link UnitStatus}, moved by events, acting on the world as transitions say. */
export class Supervisor {
  readonly #units = new Map<string, Unit>();
  readonly #world: UnitWorld;
  readonly #notices = new Set<Notice>();
  #ending = false;

  constructor(specs: readonly UnitSpec[], world: UnitWorld) {
    this.#world = world;
    for (const spec of specs) this.add(spec);
  }

  /** Takes in a unit, stopped. One that is known gets the new description, which counts from its next start. */
  add(spec: UnitSpec): void {
    const known = this.#units.get(spec.name);
    if (known !== undefined) known.spec = spec;
    else {
      const fresh = { status: stoppedUnit, watch: new AbortController(), timer: new AbortController() };
      this.#units.set(spec.name, { spec, ...fresh });
    }
  }

  /** Stops a unit and forgets it, unless it was added again meanwhile. */
  async remove(name: string): Promise<void> {
    const { spec } = this.#find(name);
    await this.stop(name);
    if (this.#units.get(name)?.spec === spec) this.#units.delete(name);
  }

  has(name: string): boolean {
    return this.#units.has(name);
  }

  /** Whether all are being stopped, for good. */
  isEnding(): boolean {
    return this.#ending;
  }

  names(): readonly string[] {
    return [...this.#units.keys()];
  }

  /** Throws NOT_FOUND when there is no such unit. */
  status(name: string): UnitStatus {
    return this.#find(name).status;
  }

  needs(name: string): readonly string[] {
    return this.#find(name).spec.needs;
  }

  startAll(): void {
    for (const unit of this.#units.values()) this.#send(unit, { kind: "start" });
  }

  /** Starts a unit and what it needs. */
  start(name: string): void {
    for (const need of this.needs(name)) this.start(need);
    this.#send(this.#find(name), { kind: "start" });
  }

  /** Ends and starts a unit. Those that need it stay: they connect again by themselves, as after a crash. */
  restart(name: string): void {
    this.#send(this.#find(name), { kind: "restart" });
  }

  /** Stops a unit after those that need it. Resolves when it has ended. */
  async stop(name: string): Promise<void> {
    const unit = this.#find(name);
    const dependents = [...this.#units.values()].filter(({ spec }) => spec.needs.includes(name));
    await Promise.all(dependents.map(({ spec }) => this.stop(spec.name)));
    this.#send(unit, { kind: "stop" });
    await this.until(name, ({ state }) => state === "stopped");
  }

  /** Stops all, each after those that need it. Nothing starts any more. */
  async stopAll(): Promise<void> {
    this.#ending = true;
    await Promise.all(this.names().map((name) => this.stop(name)));
  }

  /** Resolves when `wanted` is true of the unit, or when aborted. */
  until(name: string, wanted: (unit: UnitStatus) => boolean, signal?: AbortSignal): Promise<void> {
    const unit = this.#find(name);
    return new Promise((resolve) => {
      const check = () => {
        if (!wanted(unit.status) && !signal?.aborted) return;
        this.#notices.delete(check);
        signal?.removeEventListener("abort", check);
        resolve();
      };
      this.#notices.add(check);
      signal?.addEventListener("abort", check);
      check();
    });
  }

  /** Gives back what ends the notices. */
  onChange(notice: Notice): () => void {
    this.#notices.add(notice);
    return () => this.#notices.delete(notice);
  }

  #find(name: string): Unit {
    const unit = this.#units.get(name);
    if (unit !== undefined) return unit;
    const reason = `no such unit; there are ${this.names().join(", ")}`;
    throw new AiosError("NOT_FOUND", { act: "find", object: `unit ${name}`, reason });
  }

  #send(unit: Unit, event: UnitEvent): void {
    const before = unit.status;
    const { actions } = this.#move(unit, event);
    for (const action of actions) this.#act(unit, action);
    if (unit.status === before) return;
    for (const notice of [...this.#notices]) notice(unit.spec.name, unit.status, before);
    this.#startWaiting();
  }

  #move(unit: Unit, event: UnitEvent): Transition {
    const { clock, random } = this.#world;
    const moment = { nowMs: clock.now(), monotonicMs: clock.monotonic(), random: random() };
    const result = transition(unit.status, event, moment, unit.spec.restart);
    unit.status = result.unit;
    return result;
  }

  #startWaiting(): void {
    if (this.#ending) return;
    for (const unit of this.#units.values()) {
      const able = unit.spec.needs.every((name) => this.status(name).state === "ready");
      if (able && unit.status.state === "waiting") this.#send(unit, { kind: "needs-ready" });
    }
  }

  #act(unit: Unit, action: UnitAction): void {
    switch (action.kind) {
      case "spawn":
        this.#launch(unit);
        break;
      case "terminate":
        // A daemon that ends lets its calls finish first: the watch is one that would not.
        unit.watch.abort();
        unit.process?.terminate();
        this.#later(unit, stopGraceMs, { kind: "grace-over" });
        break;
      case "kill":
        unit.process?.kill();
        break;
      case "wait":
        this.#later(unit, action.delayMs, { kind: "delay-over" });
        break;
    }
  }

  /** Sends `event` after a while, unless the unit has moved on by another wait or a launch. */
  #later(unit: Unit, delayMs: number, event: UnitEvent): void {
    unit.timer.abort();
    unit.timer = new AbortController();
    this.#world.clock.sleep(delayMs, unit.timer.signal).then(
      () => this.#send(unit, event),
      () => {},
    );
  }

  #launch(unit: Unit): void {
    unit.timer.abort();
    unit.process = this.#world.spawn(unit.spec.name);
    this.#move(unit, { kind: "spawned", pid: unit.process.pid });
    const watch = new AbortController();
    unit.watch = watch;
    unit.process.ended.then((how) => {
      watch.abort();
      delete unit.process;
      this.#send(unit, { kind: "ended", how });
    });
    const notice: Readiness = (ready, reason) => {
      if (watch.signal.aborted) return;
      this.#send(unit, ready ? { kind: "ready", ...(reason !== undefined && { reason }) } : { kind: "unready" });
    };
    this.#world.watch(unit.spec.name, notice, watch.signal).catch((error: unknown) => {
      if (!watch.signal.aborted) this.#send(unit, { kind: "hung", reason: messageOf(error) });
    });
  }
}
