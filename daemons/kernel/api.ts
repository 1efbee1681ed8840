import type { Standing } from "./branch.ts";
import type { ApprovalResolution } from "./ports.ts";
import type { BudgetState, ToolCall } from "./shapes.ts";
import type { BranchState, RunEnd, SessionConfig } from "./state.ts";

export interface TickRequest {
  readonly session: string;
  /** Absent = main. */
  readonly branch?: string;
  /** Chosen by who asks: asked again with the same one, it is the same run. Absent = a new one. */
  readonly runId?: string;
  readonly objective: string;
  /** The one who asks. */
  readonly actor: string;
  /** The call to make: no model is asked. */
  readonly proposedTool?: ToolCall;
}

/** How a run stands: over, or as the branch stands. */
export type TickResult =
  | ({ readonly status: "finished" | "errored" } & RunEnd)
  | Exclude<Standing, { readonly status: "idle" }>;

export interface Kernel extends KernelToCome {
  /** Makes a session with its branch main. The same session again is no error. */
  createSession(session: string, name: string, config: SessionConfig): Promise<BranchState>;
  /**
   * Takes up a request; it is on disk when this resolves, and `done` says what came of it. Throws FAILED_PRECONDITION when a run
   * is open on the branch already, or the branch is closed.
   */
  submit(request: TickRequest): Promise<{ readonly runId: string; readonly done: Promise<TickResult> }>;
  /** Takes up what is open in a session after a start: on one branch, or (absent) on all. Throws NOT_FOUND. */
  resume(
    session: string,
    branch?: string,
  ): Promise<readonly { readonly branch: string; readonly standing: Standing }[]>;
  /** Ends the open run; a call that was begun is stopped, and what became of it is journalled. */
  cancel(session: string, branch: string, reason: string, actor: string): Promise<Standing>;
  /** Makes a branch that has what `from` has up to `sequence` (absent = its head). Throws OUT_OF_RANGE past the head. */
  fork(session: string, from: string, branch: string, sequence?: number): Promise<BranchState>;
  /**
   * Puts conversation and vitals back to a checkpoint; what was spent stays spent, what was done stays done. Throws
   * FAILED_PRECONDITION while a run is open, NOT_FOUND, and DATA_LOSS when the journal is not the one it was made of.
   */
  restore(session: string, branch: string, checkpointId: string): Promise<BranchState>;
  /** Closes all branches of a session. Throws FAILED_PRECONDITION while a run is open on one of them. */
  closeSession(session: string, reason: string): Promise<BranchState>;
  state(session: string, branch?: string): Promise<BranchState>;
  /**
   * The state as it was after an event (absent = the last), from the journal alone. Throws NOT_FOUND, and OUT_OF_RANGE past the
   * head.
   */
  replay(session: string, branch: string, sequence?: number): Promise<BranchState>;
  /** All branches of a session, main first, by what the journal says of forks. */
  branches(session: string): Promise<readonly string[]>;
}

/** The verbs that no program of the machine calls yet: for clients to come, and for tests of what the kernel promises. */
interface KernelToCome {
  /** submit, and waits for what comes of it. */
  tick(request: TickRequest): Promise<TickResult>;
  /**
   * Decides about one capability of a call. When all that it needs are approved, the call is carried out, once, on its branch.
   * The decision is on disk when this resolves; decided again, the first decision stands. Throws NOT_FOUND when there is no
   * such approval in the session. Only of use to who wires the port of approvals.
   */
  resolveApproval(
    session: string,
    approvalId: string,
    approved: boolean,
    actor: string,
  ): Promise<ApprovalResolution & { readonly branch: string; readonly done: Promise<Standing> }>;
  /** Tells `into` that a branch was merged; nothing is added to that one any more. Its events are not repeated. */
  merge(session: string, branch: string, into: string): Promise<BranchState>;
  /** Sets what a session may still spend. */
  setBudget(session: string, branch: string, budget: BudgetState, reason: string): Promise<BranchState>;
  /** Begins nothing new. What is open is taken up by the next kernel. */
  close(): void;
}
