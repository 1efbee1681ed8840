import type { BenchHost } from "../bench.ts";
import type { Measure } from "../row.ts";

/** What a part of the benchmark is given. */
export interface MemoryBenchHost extends BenchHost {
  /** The daemon's bundle, as it ships. */
  readonly program: string;
  /** A folder on the disk, empty. */
  folder(name: string): string;
}

/** One part: measures, and gives back what it measured. */
export type Part = (host: MemoryBenchHost) => Promise<readonly Measure[]>;
