import type { Accelerator } from "../accelerator.ts";
import type { Images } from "../images.ts";
import type { Measure } from "./row.ts";

/** What a benchmark is given. */
export interface BenchHost {
  readonly repository: string;
  /** Builds what is stale, once. */
  images(): Promise<Images>;
  readonly accelerator: Accelerator;
  /** What stands behind the benchmark's name. */
  readonly words: readonly string[];
  readonly say: (line: string) => void;
}

/** A benchmark: measures, and gives back what it measured. */
export type Bench = (host: BenchHost) => Promise<readonly Measure[]>;
