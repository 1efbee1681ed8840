import { dirname, join } from "node:path";

/** A store's file and what belongs to it. */
export interface Place {
  /** "working": what the store is called, also in a backup. */
  readonly name: string;
  readonly path: string;
  readonly migrations: readonly string[];
  /** The folder of the backups. */
  readonly backups: string;
}

/** The folder of copies that takes the stores' place at the next start. It is there whole or not at all. */
export const incomingBeside = (backups: string): string => join(dirname(backups), "incoming");
