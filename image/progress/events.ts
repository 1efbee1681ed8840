/** How much of something a step has done. */
export interface Count {
  /** In the plural: "objects", "packages", "MB". */
  readonly unit: string;
  readonly done: number;
  /** Undefined while nobody knows. */
  readonly total?: number | undefined;
}

/** What a build says while it goes. */
export type BuildEvent =
  | { readonly kind: "waiting"; readonly lock: string }
  | ({ readonly kind: "planned" } & Forecast)
  | { readonly kind: "cached"; readonly step: string }
  | { readonly kind: "started"; readonly step: string; readonly why: string }
  | StepProgress
  | { readonly kind: "remark"; readonly step: string; readonly text: string }
  | { readonly kind: "built"; readonly step: string; readonly ms: number }
  /** Nothing runs any more, whether it went well or not. */
  | { readonly kind: "over"; readonly ms: number };

/** Where a step that runs is: said once a second. */
export interface StepProgress {
  readonly kind: "progress";
  readonly step: string;
  readonly elapsedMs: number;
  /** How long it is expected to take, all of it; undefined where nothing is known. */
  readonly expectedMs?: number | undefined;
  readonly count?: Count | undefined;
  /** How long it will still take, by the count; undefined where that tells nothing. */
  readonly leftMs?: number | undefined;
}

/** How long a build will take. */
export interface Forecast {
  /** Steps that run, and steps in all. */
  readonly stale: number;
  readonly steps: number;
  readonly ms: number;
  readonly cores: number;
  /** Whose times these are: this machine's of earlier builds, those of the table, or some of each. */
  readonly by: "this machine" | "the table" | "both";
}
