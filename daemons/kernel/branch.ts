/**
 * A kernel that starts anew on a journal goes on as the one before would have, at whichever event that one ended:
 * `fold` makes the state of a branch from its events and nothing else, `decide` says from the state and nothing else
 * what comes next, and this is the loop between the two: it writes all there is to write, asks one port, writes what
 * came of it. The same function replays, forks (a fork reads through to its parent; the run that is open there stays
 * with the parent) and restores checkpoints (conversation and vitals go back, what was spent stays spent; a
 * checkpoint's hash covers every event before it).
 *
 * One call at a time in a run: a later one may need what an earlier one did, and the journal stays a story. Branches
 * and sessions run beside each other. Two kernels on one branch do no harm: the journal's sequence decides who was
 * first, the other reads anew.
 */
import { AiosError, messageOf } from "#lib/errors";
import { beginning } from "#lib/text";
import { carryOut } from "./carry-out.ts";
import { decide, type Step } from "./decide.ts";
import { deliberate, summaryOf } from "./deliberate.ts";
import type { EventRecord } from "./events.ts";
import { judge } from "./judge.ts";
import type { EventKind, KindOf } from "./kinds.ts";
import { noteEvent } from "./notes.ts";
import type { BranchState, Run, RunEnd } from "./state.ts";
import { BranchWriter, type World } from "./writer.ts";

/** Where a branch has come to when there is nothing more to do for now. */
export type Standing =
  | { readonly status: "idle"; readonly last?: RunEnd }
  /** A person is asked; milliseconds since the epoch until when. */
  | { readonly status: "waiting"; readonly runId: string; readonly until: number }
  /** A port is away. It is tried again by itself. */
  | { readonly status: "stalled"; readonly runId: string; readonly reason: string };

/** A branch and what is done on it: decides, writes down, asks the ports, and again. */
export class Branch {
  readonly #world: World;
  readonly #session: string;
  readonly #writer: BranchWriter;
  #driving: Promise<Standing> | undefined;
  /** Counts who asked for progress: who asks while it comes to rest must not be left behind. */
  #asked = 0;
  /** The call whose intent this kernel has written, and which it has not asked the harness for yet. */
  #fresh = "";
  #cancel = new AbortController();
  #wake = new AbortController();
  #sleeping = false;
  #closed = false;

  constructor(world: World, session: string, branch: string) {
    this.#world = world;
    this.#session = session;
    this.#writer = new BranchWriter(world, session, branch);
  }

  /** Nothing is done here, nor will be by itself. */
  get resting(): boolean {
    return this.#driving === undefined && !this.#sleeping;
  }

  /** The state as the journal has it. */
  state(): Promise<BranchState> {
    return this.#writer.state();
  }

  /**
   * Adds what `choose` wants to add, given the state. It may be asked again, when somebody else has added something meanwhile;
   * what it throws is thrown. Resolves with the state when all is on disk.
   */
  async add(choose: (state: BranchState) => readonly EventKind[]): Promise<BranchState> {
    const [after, kinds, begins] = await this.#writer.write((before) => {
      const kinds = choose(before);
      const records: EventRecord[] = [];
      let state = before;
      for (const kind of kinds) {
        const next = this.#writer.next(state, kind);
        records.push(next.record);
        state = next.state;
      }
      return { records, state, result: [state, kinds, before.run?.runId !== state.run?.runId] as const };
    });
    if (begins) this.#cancel = new AbortController();
    this.#settle(kinds);
    return after;
  }

  /** Goes on with what is to be done, as far as it goes. */
  drive(): Promise<Standing> {
    this.#asked += 1;
    this.#driving ??= this.#driveAll().finally(() => {
      this.#driving = undefined;
    });
    return this.#driving;
  }

  /** Stops what is being done for the open run; what was begun is looked after. */
  interrupt(reason: string): void {
    this.#cancel.abort(new AiosError("CANCELLED", reason));
  }

  /** Nothing new is begun. */
  close(): void {
    this.#closed = true;
    this.#wake.abort();
  }

  async #driveAll(): Promise<Standing> {
    for (;;) {
      const asked = this.#asked;
      try {
        const standing = await this.#drive();
        if (asked === this.#asked) return standing;
      } catch (error) {
        // The journal is away. What is open in it is not given up.
        this.#later(this.#world.limits.stalledMs);
        throw error;
      }
    }
  }

  async #drive(): Promise<Standing> {
    this.#wake.abort();
    this.#sleeping = false;
    for (;;) {
      const { state, step } = await this.#advance();
      const { run } = state;
      if (step.do === "idle" || run === undefined) {
        const last = state.runs.at(-1);
        return { status: "idle", ...(last === undefined ? {} : { last }) };
      }
      if (step.do === "wait") {
        this.#later(step.until - this.#world.clock.now());
        return { status: "waiting", runId: run.runId, until: step.until };
      }
      if (this.#closed) return { status: "stalled", runId: run.runId, reason: "the kernel was closed" };
      try {
        await this.#perform(state, run, step);
      } catch (error) {
        this.#later(this.#world.limits.stalledMs);
        return { status: "stalled", runId: run.runId, reason: messageOf(error) };
      }
    }
  }

  /** Goes on by itself after a while. */
  #later(ms: number): void {
    if (this.#closed) return;
    this.#wake = new AbortController();
    this.#sleeping = true;
    this.#world.clock.sleep(Math.max(0, ms), this.#wake.signal).then(
      () => void this.drive().catch(() => {}),
      () => {},
    );
  }

  /** Writes down all there is to write down before a port is to be asked. */
  async #advance(): Promise<{ state: BranchState; step: Step }> {
    this.#fresh = "";
    const { limits, clock, id } = this.#world;
    const { kinds, ...reached } = await this.#writer.write((before) => {
      const records: EventRecord[] = [];
      const kinds: EventKind[] = [];
      let state = before;
      for (;;) {
        const step = decide(state, { now: clock.now(), limits, id });
        if (step.do !== "append") return { records, state, result: { state, step, kinds } };
        const next = this.#writer.next(state, step.kind);
        kinds.push(step.kind);
        records.push(next.record);
        state = next.state;
      }
    });
    const last = kinds.at(-1);
    if (last?.type === "ToolCallStarted") this.#fresh = last.tool_run_id;
    this.#settle(kinds);
    return reached;
  }

  /** Takes what was decided off the list of approvals. The journal has it: a list that is away is put right at the next start. */
  #settle(kinds: readonly EventKind[]): void {
    const { approvals } = this.#world.ports;
    const resolved = kinds.filter((kind): kind is KindOf<"ApprovalResolved"> => kind.type === "ApprovalResolved");
    for (const { approval_id, decision, reason = "kernel" } of resolved)
      approvals?.resolve(approval_id, decision === "approved", reason).catch(() => {});
  }

  async #perform(state: BranchState, run: Run, step: Step): Promise<void> {
    switch (step.do) {
      case "complete":
        return this.#complete(state, run);
      case "judge":
        return this.#judge(state, run);
      case "enqueue":
        return this.#enqueue(run, step.capability);
      case "carry-out":
        return this.#carryOut(state, run);
      case "append":
      case "wait":
      case "idle":
        return;
    }
  }

  async #complete(state: BranchState, run: Run): Promise<void> {
    const { clock, limits } = this.#world;
    const began = clock.monotonic();
    const still = ({ stage, steps }: Run) => stage === "deliberating" && steps === run.steps;
    try {
      const { completion, costUsd: cost_usd } = await deliberate(this.#world, state, run, this.#cancel.signal);
      const duration_ms = Math.round(clock.monotonic() - began);
      const note = noteEvent("aios.model_completed", { completion, duration_ms, cost_usd });
      await this.#during(run, still, [note, summaryOf(completion)]);
    } catch (error) {
      if (this.#cancel.signal.aborted) return;
      await this.#during(run, still, [{ type: "ErrorRaised", message: `ask the model: ${messageOf(error)}` }]);
      await clock.sleep(limits.retryMs * 2 ** Math.min(run.errors, 6), this.#cancel.signal).catch(() => {});
    }
  }

  async #judge(state: BranchState, run: Run): Promise<void> {
    if (run.call === undefined) return;
    const note = await judge(this.#world.ports, state, run.call, this.#world.limits);
    const still = ({ call }: Run) => call?.call.call_id === note.call_id && call.stage === "requested";
    await this.#during(run, still, [noteEvent("aios.gate_evaluated", note)]);
  }

  async #enqueue(run: Run, capability: string): Promise<void> {
    const open = run.call;
    const { approvals } = this.#world.ports;
    if (open?.judgement === undefined) return;
    if (approvals === undefined) throw new AiosError("FAILED_PRECONDITION", "ask a person: this kernel can ask nobody");
    const { call, judgement, tickets } = open;
    const { call_id, tool_name } = call;
    const reason = `${beginning(run.objective, 200)}: ${judgement.explanation ?? ""}`;
    const request = { session_id: this.#session, call_id, tool_name, capability, reason };
    const { approval_id } = await approvals.enqueue(request);
    const still = (now: Run) => now.call?.call.call_id === call_id && now.call.tickets.length === tickets.length;
    const asked = { approval_id, call_id, tool_name, arguments: call.input, risk: judgement.risk };
    await this.#during(run, still, [{ type: "ApprovalRequested", ...asked }]);
  }

  async #carryOut(state: BranchState, run: Run): Promise<void> {
    const call = run.call?.call;
    if (call === undefined) return;
    const { ports, clock, limits } = this.#world;
    const fresh = this.#fresh === call.call_id;
    if (run.cancelled !== undefined) this.interrupt(run.cancelled);
    const { workspace_root = "/", policy } = state.config ?? {};
    const runtimeMs = (policy?.max_tool_runtime_secs ?? 30) * 1_000;
    const carrying = { tools: ports.tools, clock, limits, runtimeMs, cancelled: this.#cancel.signal };
    const outcome = await carryOut(carrying, { session_id: this.#session, workspace_root, call }, fresh);
    const still = (now: Run) => now.call?.call.call_id === call.call_id && now.call.stage === "started";
    await this.#during(run, still, [outcome]);
  }

  /** Adds events when the run still is where it was when they were thought of; else they are of no use any more. */
  async #during(run: Run, still: (run: Run) => boolean, kinds: readonly EventKind[]): Promise<void> {
    await this.add(({ run: now }) => (now !== undefined && now.runId === run.runId && still(now) ? kinds : []));
  }
}
