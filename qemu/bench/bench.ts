import type { Accelerator } from "../accelerator.ts";
import type { Images } from "../images.ts";
import type { Measure } from "./row.ts";

/** What a benchmark is given. */
export interface BenchHost {
  readonly repository: string;
  /** Builds what is stale, once. */
  images(): Promise<Images>;
  /** Folder of what is kept between runs and never needed. */
  readonly cache: string;
  /** Folders of the host's programs, as in PATH. */
  readonly searchPath: string;
  readonly accelerator: Accelerator;
  /** What stands behind the benchmark's name: "--gpu". */
  readonly words: readonly string[];
  readonly say: (line: string) => void;
}

/** A benchmark: measures, and gives back what it measured. */
export type Bench = (host: BenchHost) => Promise<readonly Measure[]>;
