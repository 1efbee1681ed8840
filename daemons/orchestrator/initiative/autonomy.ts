/**
 * A stop is stored before it is carried out. `aiosctl emergency stop` writes it down, aborts what runs, ends the
 * agents' standing grants, and answers within a second; what a call had begun is looked up in the ledger when the
 * machine goes on. While it is stopped a goal is refused with how to resume, not stored: nobody finds a queue of
 * forgotten wishes carried out at once. An operator's own calls of tools go on working.
 *
 * The autonomy level is the orchestrator's to keep and the gate's to apply. What an operator sets outlives the
 * configuration's value until `aiosctl autonomy configured`; the orchestrator writes it to `/run/aios/autonomy`, and
 * the tools daemon reads that with its policy. At manual, agents' goals and triggers are refused; schedules are a
 * person's word and run.
 */
import type { Clock } from "#lib/clock";
import type { Autonomy as AutonomyLevel } from "#lib/config/effective";
import { AiosError } from "#lib/errors";
import type { Log } from "#lib/log";
import { type Durable, type Fits, fieldsOf } from "../durable.ts";
import type { Goals } from "../goals/index.ts";
import { isStop, type Stop, type StopNote } from "./stop-note.ts";

/** The stored state: the level that an operator has set (empty: the configuration's), and the stop, if there is one. */
export interface AutonomyRecord {
  readonly level: AutonomyLevel | "";
  readonly stop?: Stop | undefined;
}

/** The side that would begin something: a person (also by a schedule), or the machine by itself. */
type Initiative = "person" | "machine";

export interface Autonomy {
  readonly level: AutonomyLevel;
  readonly configured: AutonomyLevel;
  readonly stop: Stop | undefined;
  /** Why the stop is not on the data volume yet: a reboot would forget it. Empty when it is there, or there is none. */
  readonly unstored: string;
  /** Sets the level, durably; empty = the configuration's again. */
  setLevel(level: AutonomyLevel | "", by: string): void;
  /** Stops all that runs. Resolves when it has stopped, or when what still ends has had its time. */
  emergencyStop(by: string, reason: string): Promise<void>;
  emergencyResume(by: string): Promise<void>;
  /** Throws FAILED_PRECONDITION when nothing may begin, or not by this initiative. */
  permit(initiative: Initiative): void;
  /** Called with every change, and once at the start; a stop waits for what it does. */
  onChange(listener: () => Promise<void> | void): void;
}

export const levels: readonly AutonomyLevel[] = ["full", "supervised", "manual"];

/** Whether a value read from a file is an {@link AutonomyRecord}. */
export const isAutonomyRecord: Fits = (value) => {
  if (!fieldsOf({ level: "string" })(value)) return false;
  const { level, stop } = value as AutonomyRecord;
  return (level === "" || levels.includes(level)) && (stop === undefined || isStop(stop));
};

/** A stop that could not be stored is tried again so often. */
const storeAgainMs = 5_000;

/** Time for what runs to end, once it was told to; then it is not waited for. */
const stopGraceMs = 900;

interface AutonomyParts {
  readonly record: Durable<AutonomyRecord>;
  readonly note: StopNote;
  readonly configured: AutonomyLevel;
  readonly goals: Pick<Goals, "hold" | "release">;
  /** Keeps the agents' own processes from running on, or lets them. */
  freezeAgents(frozen: boolean): void;
  /** Keeps what agents have started from running on, or lets it. */
  hold(held: boolean): Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How far the machine acts by itself. A stop of an earlier run holds the goals before they are taken up. */
export function openAutonomy(parts: AutonomyParts): Autonomy {
  const { record, note, configured, goals, freezeAgents, hold, clock, log } = parts;
  const listeners: (() => Promise<void> | void)[] = [];
  const tellListeners = async () => {
    await Promise.all(listeners.map((listener) => listener()));
  };
  const holdOrSay = () =>
    hold(true).catch((error) => log.error("an emergency stop could not hold what agents started", { error }));
  const level = () => record.value.level || configured;
  const kept = openStopKeeper(parts);
  const { keep } = kept;

  const stop = record.value.stop ?? note.read(clock.now());
  if (stop !== undefined) {
    log.warn("the machine is stopped", { ...stop });
    keep(stop);
    void goals.hold(describe(stop));
    // What a boot has started again, and what an earlier run did not come to hold. Agents start for the boot, and hold nothing.
    holdOrSay();
  }

  return {
    get level() {
      return level();
    },
    configured,
    get stop() {
      return record.value.stop;
    },
    get unstored() {
      return kept.unstored;
    },
    setLevel(next, by) {
      record.set({ ...record.value, level: next });
      log.info("autonomy level", { level: level(), by });
      void tellListeners();
    },
    async emergencyStop(by, reason) {
      const stop = record.value.stop ?? { by, reason, at: clock.now() };
      keep(stop);
      log.warn("emergency stop", { by, reason });
      const over = new AbortController();
      const stopped = Promise.all([tellListeners(), goals.hold(describe(stop)), holdOrSay()]);
      await Promise.race([stopped, clock.sleep(stopGraceMs, over.signal).catch(() => {})]);
      over.abort();
      // Their calls have been cancelled by now: who does not heed that does nothing more.
      if (record.value.stop !== undefined) freezeAgents(true);
    },
    async emergencyResume(by) {
      const { stop, ...resumed } = record.value;
      if (stop === undefined) throw new AiosError("FAILED_PRECONDITION", "resume the machine: it is not stopped");
      // An aios-tools that starts from now on is not told of it any more; one that has is let go below.
      note.write(undefined);
      try {
        // Before the stop is forgotten: what is still held then would be for ever.
        await hold(false);
        record.set(resumed);
      } catch (error) {
        keep(stop);
        holdOrSay();
        throw error;
      }
      freezeAgents(false);
      log.info("emergency resume", { by });
      await tellListeners();
      await goals.release();
    },
    permit(initiative) {
      const { stop } = record.value;
      if (stop !== undefined) throw stopRefusal(stop);
      if (initiative === "machine" && level() === "manual") throw manualRefusal();
    },
    onChange(listener) {
      listeners.push(listener);
      void listener();
    },
  };
}

/** Keeps a stop on the data volume, where the level is, and in the note beside the sockets. */
function openStopKeeper({ record, note, clock, log }: AutonomyParts) {
  let unstored = "";
  /** Tries to store the stop until it is, or is over. */
  const storeLater = async (why: string) => {
    log.error("the stop is in effect and not stored yet: a reboot would forget it", { reason: why });
    unstored = why;
    while (unstored !== "" && record.value.stop !== undefined) {
      await clock.sleep(storeAgainMs);
      if (record.value.stop !== undefined) unstored = record.setAnyway(record.value) ?? "";
    }
    unstored = "";
    log.info("what was not stored is stored");
  };
  return {
    get unstored() {
      return unstored;
    },
    /** Keeps a stop. A full disk holds up nobody who stops the machine: what one place refuses is in the other. */
    keep(stop: Stop) {
      try {
        note.write(stop);
      } catch (error) {
        log.error("a stop could not be noted beside the sockets", { error });
      }
      const refused = record.setAnyway({ ...record.value, stop });
      if (refused !== undefined && unstored === "") void storeLater(refused);
    },
  };
}

function stopRefusal(stop: Stop): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "begin",
    object: "a goal",
    reason: describe(stop),
    next: 'an operator resumes it with "aiosctl emergency resume"',
  });
}

function manualRefusal(): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "begin",
    object: "a goal",
    reason: "at the autonomy level manual the machine does only what a person asks for",
    next: 'see "aiosctl autonomy"',
  });
}

function describe({ by, reason }: Stop): string {
  return `the machine was stopped by ${by}${reason === "" ? "" : `: ${reason}`}`;
}
