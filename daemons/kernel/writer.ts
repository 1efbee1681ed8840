import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { isAway, patiently } from "#lib/patience";
import { type EventRecord, eventSchema, momentOf } from "./events.ts";
import { fold, leaveParentsRun } from "./fold/index.ts";
import type { EventKind } from "./kinds.ts";
import type { Limits } from "./limits.ts";
import { noteIn } from "./notes.ts";
import type { Ports } from "./ports.ts";
import { type BranchState, emptyState, sessionConfig } from "./state.ts";

/** The parts of a kernel. */
export interface World {
  readonly ports: Ports;
  readonly clock: Clock;
  readonly limits: Limits;
  /** An id that was not given before. */
  id(): string;
}

/** Events that are read at once. */
const pageLength = 500;
/** How often a write is retried after losing the race for the next sequence. */
const conflictsMax = 16;

/** Events that follow a state, and the state after them. */
interface Draft<T> {
  readonly records: readonly EventRecord[];
  readonly state: BranchState;
  readonly result: T;
}

/**
 * The end of one branch's journal. Everything that is added goes through one lock and the journal's sequence, so that what was
 * decided is decided on the state that it is added to, also when another kernel works on the same branch.
 */
export class BranchWriter {
  readonly #world: World;
  readonly #session: string;
  readonly #branch: string;
  #state: BranchState | undefined;
  #lock: Promise<unknown> = Promise.resolve();

  constructor(world: World, session: string, branch: string) {
    this.#world = world;
    this.#session = session;
    this.#branch = branch;
  }

  /** The state as the journal has it. */
  state(): Promise<BranchState> {
    return this.#locked(() => this.#load());
  }

  /**
   * Adds what `draft` makes of the state; it is made anew when somebody else was faster. Resolves with what it gave when that
   * is on disk. Throws what the journal throws when it cannot be written: then it is not known what of it was stored.
   */
  write<T>(draft: (state: BranchState) => Draft<T>): Promise<T> {
    return this.#locked(async () => {
      for (let attempt = 1; ; attempt += 1) {
        const { records, state, result } = draft(await this.#load());
        try {
          await this.#store(records);
          this.#state = state;
          return result;
        } catch (error) {
          this.#state = undefined;
          if (!(error instanceof AiosError) || error.code !== "ABORTED" || attempt === conflictsMax) throw error;
        }
      }
    });
  }

  /** The event that adds `kind` to a state, and the state with it. */
  next(state: BranchState, kind: EventKind): { record: EventRecord; state: BranchState } {
    const { clock, id, limits } = this.#world;
    const note = noteIn(kind);
    const asked = note?.name === "aios.run_requested" ? note.note.run_id : undefined;
    const run = asked ?? state.run?.runId ?? state.runs.at(-1)?.runId;
    const record: EventRecord = {
      event_id: id(),
      session_id: this.#session,
      agent_id:
        kind.type === "SessionCreated" ? sessionConfig.read(kind.config, "session.config").agent_id : state.agentId,
      branch_id: this.#branch,
      sequence: state.head + 1,
      timestamp: momentOf(clock.now()),
      actor: byPerson.has(kind.type) ? { type: "user" } : { type: "agent", component: "kernel" },
      schema: eventSchema,
      ...(state.lastEventId === "" ? {} : { causation_id: state.lastEventId }),
      ...(run === undefined ? {} : { correlation_id: run }),
      kind,
    };
    return { record, state: fold(state, record, limits) };
  }

  #locked<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lock.then(work);
    this.#lock = done.catch(() => {});
    return done;
  }

  async #load(): Promise<BranchState> {
    this.#state ??= await loadBranch(this.#world, this.#session, this.#branch);
    return this.#state;
  }

  async #store(records: readonly EventRecord[]): Promise<void> {
    const { journal } = this.#world.ports;
    if (records.length === 0) return;
    if (journal.append_all !== undefined) return this.#repeated(async () => journal.append_all?.(records));
    for (const record of records) await this.#repeated(() => journal.append(record));
  }

  /** The journal's writes may be repeated: it knows an event by its id. */
  async #repeated(write: () => Promise<unknown>): Promise<void> {
    const { limits, clock } = this.#world;
    await patiently({ firstMs: limits.retryMs, triesMax: limits.triesMax, passing: isAway }, { clock }, write);
  }
}

const byPerson: ReadonlySet<string> = new Set(["UserMessage", "ApprovalResolved"]);

/** A branch's state from its journal, up to a sequence (absent = to the end). Throws NOT_FOUND when nothing is there. */
export async function loadBranch(
  { ports, limits }: Pick<World, "ports" | "limits">,
  session: string,
  branch: string,
  upTo = Number.MAX_SAFE_INTEGER,
): Promise<BranchState> {
  let state = emptyState(session, branch);
  for (;;) {
    const page = await ports.journal.read(session, branch, state.head + 1, pageLength);
    for (const record of page) if (record.sequence <= upTo) state = fold(state, record, limits);
    if (page.length === 0 || state.head >= upTo || (page.at(-1)?.sequence ?? 0) > upTo) break;
  }
  return leaveParentsRun(state, branch);
}
