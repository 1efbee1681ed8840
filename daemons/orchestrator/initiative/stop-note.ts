/**
 * A file that cannot be read counts as a stop. It is noted in /run as well (`stop.json`): a full disk does not refuse
 * that, a restart of the orchestrator finds it, and aios-tools reads it when it starts while the machine is stopped.
 * Until the volume has it a reboot would forget it, which `aiosctl autonomy` says.
 */
import { readFileSync, rmSync } from "node:fs";
import { replaceFile } from "#lib/data/files";
import { errnoOf, messageOf } from "#lib/errors";
import { fieldsOf } from "../durable.ts";

/** A stop of the machine. */
export interface Stop {
  /** The identity that pressed it: "operator:alice". */
  readonly by: string;
  readonly reason: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Whether a value read from a file is a {@link Stop}. */
export const isStop = fieldsOf({ by: "string", reason: "string", at: "number" });

/** The stop in a file beside the sockets: for a start of this daemon, or of aios-tools, while the volume takes no writes. */
export interface StopNote {
  /** The stop of an earlier run since the machine's boot. One that cannot be read is one. */
  read(now: number): Stop | undefined;
  /** Writes it down, or takes it away. Throws when it cannot. */
  write(stop: Stop | undefined): void;
}

export function stopNoteIn(path: string): StopNote {
  return {
    read(now) {
      try {
        const stop: unknown = JSON.parse(readFileSync(path, "utf8"));
        if (!isStop(stop)) throw new Error("it holds something else");
        return stop as Stop;
      } catch (error) {
        if (errnoOf(error) === "ENOENT") return undefined;
        return { by: "core", reason: `the note of a stop cannot be read: ${messageOf(error)}`, at: now };
      }
    },
    write(stop) {
      if (stop === undefined) rmSync(path, { force: true });
      else replaceFile(path, JSON.stringify(stop), 0o600);
    },
  };
}
