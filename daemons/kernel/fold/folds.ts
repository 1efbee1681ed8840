import type { EventRecord } from "../events.ts";
import type { KindName, KindOf } from "../kinds.ts";
import type { Limits } from "../limits.ts";
import type { BranchState } from "../state.ts";

/** By kind of event: the state after one more of it. */
export type Folds = {
  readonly [N in KindName]?: (state: BranchState, kind: KindOf<N>, record: EventRecord, limits: Limits) => BranchState;
};
