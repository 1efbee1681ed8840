import { type Clock, callAfter } from "#lib/clock";
import { messageOf } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import type { Assignments, Ending, Handout, Report } from "../agents/index.ts";
import { patiently } from "../patience.ts";
import type { Asking, Tools } from "../tools.ts";

/** Added to the tool's own time: for the agent to fetch the call and to report. */
const handoverMs = 15_000;

/** A grant outlives its call's deadline by so much, in case nobody is left to revoke it. */
const grantGraceMs = 60_000;

/** One call of one tool that an agent is to make, with what it is lent for it. */
export interface Loan {
  readonly agent: string;
  readonly handout: Handout;
  readonly capabilities: readonly string[];
  /** The tool's own time. */
  readonly timeoutMs: number;
  /** The calls that a person is asked about. */
  readonly ask: Asking;
  /** The agent took it. */
  taken(): void;
  /** It waits for a person, by the approval of this id. */
  waits(approval: string): void;
  record(report: Report): Promise<Ending>;
}

interface Lender {
  readonly tools: Pick<Tools, "grant" | "revoke">;
  readonly assignments: Assignments;
  readonly clock: Clock;
  readonly log: Log;
}

interface Lent {
  /**
   * Has the agent make the call on its own socket, with grants for it alone: as long as its tool may take, and while it waits
   * for a person as long as a person may. Throws the signal's reason when it is aborted: the agent is told to stop.
   */
  carryOut(signal: AbortSignal): Promise<Ending>;
  /** Ends what was lent. When that cannot be done for as long as it lasts, it has ended by itself. */
  takeBack(): Promise<void>;
}

export function openLoan(loan: Loan, { tools, assignments, clock, log }: Lender): Lent {
  const { agent, handout, capabilities, ask } = loan;
  const { taskId } = handout;
  const timeoutMs = loan.timeoutMs + handoverMs;
  let lentMs = 0;
  const grant = async (callMs: number, signal: AbortSignal) => {
    lentMs = callMs + grantGraceMs;
    const wanted = { id: uuidv7(clock.now()), agent, capabilities, taskId, ask, durationMs: lentMs };
    await patiently(clock, signal, () => tools.grant(wanted));
  };
  return {
    async carryOut(signal) {
      await grant(timeoutMs, signal);
      const over = new AbortController();
      const assignment = {
        ...{ agent, handout, taken: loan.taken, record: loan.record },
        waits: (approval: string, waitsMs: number) => {
          loan.waits(approval);
          // What is let through needs its grants still.
          grant(waitsMs, over.signal).catch((error) => {
            if (over.signal.aborted) return;
            log.warn("a grant was not prolonged", { agent, task: taskId, reason: messageOf(error) });
          });
        },
      };
      try {
        return await assignments.give(assignment, timeoutMs, signal);
      } finally {
        over.abort();
      }
    },
    async takeBack() {
      const id = uuidv7(clock.now());
      const over = new AbortController();
      const callOff = callAfter(lentMs, () => over.abort());
      await patiently(clock, over.signal, () => tools.revoke(id, agent, taskId)).catch((error) =>
        log.error("a grant was not taken back; it ends by its time", { agent, task: taskId, reason: messageOf(error) }),
      );
      callOff();
    },
  };
}
