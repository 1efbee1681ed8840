/** The divisions of the long-term memory. A search names some of them, or none for all. */
export const collections = ["decisions", "incidents", "procedures", "config_changes", "knowledge"] as const;
export type Collection = (typeof collections)[number];

/** A record as it is stored: what is found by its words, and the rest of it as JSON. */
export interface LongRecord {
  readonly collection: Collection;
  readonly id: string;
  readonly title: string;
  /** The text that is searched, beside the title. Cut into chunks. */
  readonly body: string;
  /** Everything else, as it is given back. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Milliseconds since the epoch. */
  readonly storedAt: number;
}

/** A piece of a record, by its key. */
export interface Chunk {
  readonly key: number;
  readonly collection: Collection;
  readonly id: string;
  readonly part: number;
  readonly title: string;
  readonly body: string;
}

/** The text that a chunk's vector is made of. */
export function textOf({ title, body }: Pick<Chunk, "title" | "body">): string {
  return title === "" ? body : `${title}\n${title}\n${body}`;
}
