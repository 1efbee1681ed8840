/** A store's file and what belongs to it. */
export interface Place {
  /** "working": what the store is called, also in a backup. */
  readonly name: string;
  readonly path: string;
  readonly migrations: readonly string[];
  /** The folder of the backups. */
  readonly backups: string;
}

/** Beside the file: a copy that is to take its place at the next start. */
export const stagedOf = (path: string): string => `${path}.restore`;
