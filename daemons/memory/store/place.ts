/** A store's file and what belongs to it. */
export interface Place {
  /** "working": what the store is called, also in a backup. */
  readonly name: string;
  readonly path: string;
  readonly migrations: readonly string[];
  /** The folder of the backups. */
  readonly backups: string;
}

/** Beside the file: why it is not to be trusted until it has been checked. */
export const suspicionOf = (path: string): string => `${path}.suspect`;

/** Beside the file: a copy that is to take its place at the next start. */
export const stagedOf = (path: string): string => `${path}.restore`;

/** SQLite's files of one database. */
export const filesOf = (path: string): readonly string[] => [path, `${path}-wal`, `${path}-shm`, `${path}-journal`];
