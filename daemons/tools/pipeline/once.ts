import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import { checkExecutionId, type Identity } from "#lib/rpc/service";
import type { Limits, Policies } from "../access/index.ts";
import type { Entry, Ledger } from "../ledger/index.ts";
import type { Approvals } from "./approvals.ts";
import { identify, type Request } from "./gate.ts";
import { type Executed, withdrawal, withdrawalError } from "./record.ts";
import { checkSame, sameRequest } from "./tickets.ts";

interface OnceParts {
  readonly ledger: Ledger;
  readonly approvals: Approvals;
  readonly limits: Limits;
  readonly policies: Policies;
  readonly clock: Clock;
}

/**
 * Executions by ids that callers choose. One is begun at most once, whatever is lost or repeated on the way: what is running is
 * waited for, and what the ledger knows is answered from there.
 */
export class Once {
  readonly #parts: OnceParts;
  readonly #running = new Map<string, Running>();

  constructor(parts: OnceParts) {
    this.#parts = parts;
  }

  /**
   * What comes, or came, of the request. Throws ABORTED when it was withdrawn, and what `begin` throws. Asked to withdraw:
   * throws ABORTED when it will not begin any more, FAILED_PRECONDITION while it runs.
   */
  async outcomeOf(request: Request, caller: Identity, signal: AbortSignal, begin: Begin): Promise<Executed> {
    const { executionId: id, withdraw = false } = request;
    if (id === undefined) {
      if (withdraw) throw wrongId("a call is withdrawn by its execution id");
      return begin(uuidv7(this.#parts.clock.now()));
    }
    checkExecutionId("execute", id);
    const { approvals, ledger } = this.#parts;
    const entries = ledger.ofExecution(id);
    const ticket = approvals.find(id) ?? (withdraw ? undefined : approvals.find(sameAs(entries)));
    if (ticket !== undefined) {
      own(id, caller, ticket.caller.kind, ticket.caller.name);
      if (withdraw) return this.#takeBack(id);
      checkSame(ticket, request);
      return approvals.join(ticket.id, signal, request.waits);
    }
    const running = this.#running.get(id);
    if (running !== undefined) {
      own(id, caller, running.caller.kind, running.caller.name);
      if (withdraw) throw new AiosError("FAILED_PRECONDITION", `withdraw ${id}: it is running`);
      if (!sameRequest(running.request, request)) throw wrongId(`${id} is running, and is another call`);
      return running.done;
    }
    const known = this.#decided(entries);
    if (known[0] !== undefined) return knownOutcome(id, known, caller, request.tool);
    const done = (withdraw ? this.#withdraw(id, request, caller) : begin(id)).finally(() => this.#running.delete(id));
    this.#running.set(id, { caller, request, done });
    return done;
  }

  /**
   * The entries that tell what became of an execution. One that shared another's ticket became what the other did; one whose
   * ticket is no more, and that nobody decided, never began.
   */
  #decided(entries: readonly Entry[]): readonly Entry[] {
    const decided = entries.filter(({ kind }) => kind !== "asked");
    const same = sameAs(entries);
    return decided.length > 0 || same === "" ? decided : this.#decided(this.#parts.ledger.ofExecution(same));
  }

  async #takeBack(id: string): Promise<never> {
    await this.#parts.approvals.withdraw(id);
    throw withdrawalError(id);
  }

  async #withdraw(executionId: string, request: Request, caller: Identity): Promise<never> {
    // As long as any call's words, and no more often than calls are refused: it is an entry of the ledger that costs its caller nothing.
    identify(request, caller);
    const policy = await this.#parts.policies.current();
    this.#parts.limits.takeRefusal(request.tool, caller, policy);
    const { agentId, tool, taskId, reason } = request;
    const facts = { executionId, caller, agentId, tool, taskId, reason, input: "{}", redaction: policy.redaction };
    await this.#parts.ledger.append(withdrawal(facts));
    throw withdrawalError(executionId);
  }
}

interface Running {
  readonly caller: Identity;
  readonly request: Request;
  readonly done: Promise<Executed>;
}

type Begin = (id: string) => Promise<Executed>;

/** The execution whose ticket this one shared; empty = none. */
function sameAs([first]: readonly Entry[]): string {
  if (first?.kind !== "asked") return "";
  return (JSON.parse(first.output) as { same_as?: string }).same_as ?? "";
}

/** The outcome that the ledger knows of an execution. */
function knownOutcome(id: string, entries: readonly Entry[], caller: Identity, tool: string): Executed {
  const [first] = entries;
  own(id, caller, first?.callerKind ?? "", first?.caller ?? "");
  if (first?.tool !== tool) throw wrongId(`it is an execution of ${first?.tool}, not of ${tool}`);
  if (first.kind === "withdrawn") throw withdrawalError(id);
  if (first.kind === "refusal") throw new AiosError("PERMISSION_DENIED", `execute ${id}: ${first.error}`);
  const outcome = entries.find(({ kind }) => kind === "outcome" || kind === "interrupted");
  if (outcome === undefined)
    throw new AiosError(
      "UNAVAILABLE",
      `execute ${id}: its outcome could not be recorded; it is closed at the next start`,
    );
  const { kind, success, output, error, durationMs } = outcome;
  return {
    ...{ success: success === 1, output, error, durationMs: durationMs ?? 0, executionId: id, reversible: false },
    ...(kind === "interrupted" && { interrupted: true }),
  };
}

/** Keeps an outcome to those who asked for it, and core daemons: the orchestrator asks for its agents. */
function own(id: string, caller: Identity, kind: string, name: string): void {
  if (caller.kind === "core" || (caller.kind === kind && caller.name === name)) return;
  throw new AiosError("PERMISSION_DENIED", `execute ${id}: this execution id is another caller's; choose your own`);
}

function wrongId(reason: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", { act: "execute", object: "execution id", reason });
}
