/** Names a branch of a session. */
export interface Ref {
  readonly sessionId: string;
  readonly branchId: string;
}

/** An event as it is stored. */
export interface Entry {
  readonly sequence: number;
  readonly eventId: string;
  /** An EventRecord with its sequence. */
  readonly json: string;
}
