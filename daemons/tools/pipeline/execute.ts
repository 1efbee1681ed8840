import type { Clock } from "#lib/clock";
import type { Noticed } from "#lib/data/watchful";
import { AiosError, type Code, errnoOf } from "#lib/errors";
import { correlationId, type Log } from "#lib/log";
import type { Identity } from "#lib/rpc/service";
import type { Limits, Policies } from "../access/index.ts";
import type { Ledger } from "../ledger/index.ts";
import type { Reserve, Undos } from "../state/index.ts";
import type { AnyCall, Tool } from "../tool.ts";
import { type Approvals, needsApproval } from "./approvals.ts";
import { withDeadline } from "./deadline.ts";
import type { Admitted, Gate, Request } from "./gate.ts";
import type { Locks } from "./locks.ts";
import type { Once } from "./once.ts";
import { previewOf } from "./preview.ts";
import { type Executed, type Facts, intent, outcome, type Result, refusal } from "./record.ts";
import type { Repeats } from "./repeats.ts";
import { Seats } from "./seats.ts";
import { digestOf, type Ticket } from "./tickets.ts";
import type { Validation } from "./validation.ts";

export interface Executor {
  /**
   * Carries out one call. Throws what is refused before anything was done (INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED,
   * RESOURCE_EXHAUSTED); what fails after that is told in the result.
   */
  perform(request: Request, caller: Identity, signal: AbortSignal): Promise<Executed>;
}

export interface Parts {
  readonly gate: Gate;
  readonly policies: Policies;
  readonly limits: Limits;
  readonly approvals: Approvals;
  readonly repeats: Repeats;
  readonly ledger: Ledger;
  readonly undos: Undos;
  readonly locks: Locks;
  readonly validation: Validation;
  readonly reserve: Pick<Reserve, "full" | "admit">;
  readonly noticed: Noticed;
  readonly clock: Clock;
  readonly log: Log;
}

export function openExecutor(parts: Parts, once: Once): Executor {
  const seats = new Seats();
  return {
    perform: (request, caller, signal) =>
      seats.during(caller, () =>
        once.outcomeOf(request, caller, signal, (id) => begin(parts, id, request, caller, signal)),
      ),
  };
}

/** The whole way of a call, by an id under which none was begun. */
async function begin(
  parts: Parts,
  executionId: string,
  request: Request,
  caller: Identity,
  signal: AbortSignal,
): Promise<Executed> {
  const policy = await parts.policies.current();
  const facts = { ...request, input: textOf(request), executionId, caller, redaction: policy.redaction };
  const call = await admit(parts, request, caller, facts);
  parts.limits.take(call.tool, caller, policy);
  if (needsApproval(call, policy)) return parts.approvals.ask(call, facts, policy, signal, request.waits);
  const exact = { ...facts, input: JSON.stringify(call.input) };
  return isRepeated(call, request) ? repeat(parts, call, exact, signal) : carryOut(parts, call, exact, signal);
}

/** A read that an agent makes by itself: for no task, and by no id of its own, by which it could ask for it again. */
const isRepeated = ({ tool, caller }: Admitted, { taskId, executionId }: Request) =>
  caller.kind === "agent" && tool.effect === "read" && taskId === "" && executionId === undefined;

/** Carries out a call that changes nothing. A repeat of one that stands in the ledger is counted there. */
async function repeat(parts: Parts, call: Admitted, facts: Facts, signal: AbortSignal): Promise<Executed> {
  const { repeats, ledger } = parts;
  const { executionId } = facts;
  if (repeats.knows(call.tool, facts)) {
    const { result } = await act(parts, call, executionId, Promise.resolve(), signal);
    if (repeats.count(call.tool, facts, result, result.durationMs))
      return { ...result, executionId, reversible: false };
    await ledger.append(intent(facts));
    await conclude(ledger, facts, result);
    repeats.written(call.tool, facts, result);
    return { ...result, executionId, reversible: false };
  }
  const done = await carryOut(parts, call, facts, signal);
  repeats.written(call.tool, facts, done);
  return done;
}

/**
 * Carries out a call that a person has approved: exactly the one that was asked. It passes the gate again, and what it names
 * and would change must be what the person was shown. Throws FAILED_PRECONDITION when it is not.
 */
export async function runApproved(parts: Parts, ticket: Ticket, facts: Facts): Promise<Executed> {
  const inputJson = Buffer.from(ticket.input);
  const call = await admit(parts, { ...facts, inputJson }, facts.caller, facts);
  if (digestOf(call, await previewOf(call, ticket.id), ticket.salt) !== ticket.digest) {
    const error = new AiosError("FAILED_PRECONDITION", {
      act: "execute",
      object: ticket.tool,
      reason: "what it would change is no longer what was shown when it was approved",
      next: "make the call again",
    });
    await parts.ledger.append(refusal(facts, error.message));
    throw error;
  }
  return carryOut(parts, call, facts, new AbortController().signal);
}

/** Carries out a call that is admitted and allowed: intent, undo, act, outcome. */
async function carryOut(parts: Parts, call: Admitted, facts: Facts, signal: AbortSignal): Promise<Executed> {
  const { executionId } = facts;
  const recorded = parts.ledger.append(intent(facts)).then(() => {});
  // What fails is told below; until then nobody may be listening.
  recorded.catch(() => {});
  const { result, kept } = await act(parts, call, executionId, recorded, signal);
  await recorded.catch(async (error: unknown) => {
    // Nothing was done, so there is nothing to take back.
    if (call.tool.undo !== undefined) await parts.undos.undone(executionId).catch(() => {});
    throw error;
  });
  await conclude(parts.ledger, facts, result);
  return { ...result, executionId, reversible: kept, irreversible: call.tool.irreversible };
}

/**
 * Passes the gate; a denial is written down before it is told, the same one once and then counted. While the disk is full it is told
 * alone: what is left for records is not for what is refused.
 */
async function admit(
  { gate, ledger, limits, repeats, policies, reserve }: Parts,
  request: Request,
  caller: Identity,
  facts: Facts,
): Promise<Admitted> {
  try {
    return await gate.admit(request, caller);
  } catch (error) {
    if (error instanceof AiosError && error.code === "PERMISSION_DENIED") {
      const ending = { success: false, error: error.message };
      // By an id of its own it can be asked for again, and is answered from the ledger.
      const repeatable = request.executionId === undefined;
      if (!repeatable || !repeats.count(undefined, facts, ending, 0)) {
        // Before anything is written: what is refused too often leaves no trace but its answer.
        limits.takeRefusal(request.tool, caller, await policies.current());
        if (reserve.full()) throw error;
        await ledger.append(refusal(facts, error.message));
        if (repeatable) repeats.written(undefined, facts, ending);
      }
    }
    throw error;
  }
}

const textOf = ({ inputJson }: Request) => Buffer.from(inputJson).toString("utf8");

/**
 * Prepares the undo, runs the tool within its time and checks what it gives back. The intent is on disk before anything is done,
 * and so is the undo before the act; where preparing only reads, the disk takes both at the same time.
 */
async function act(
  parts: Parts,
  call: Admitted,
  executionId: string,
  recorded: Promise<void>,
  signal: AbortSignal,
): Promise<Acted> {
  const { clock, locks, validation, undos } = parts;
  const { tool } = call;
  let kept = false;
  const started = clock.monotonic();
  const duration = () => Math.round(clock.monotonic() - started);
  try {
    const output = await withDeadline(clock, tool.timeoutMs, signal, (stop) =>
      locks.run(call.locks, async () => {
        const { caller, input, resources, permits } = call;
        const view = { executionId, caller, input, resources, permits, signal: stop };
        const given = { ...view, forGood: tool.irreversible !== undefined } as unknown as AnyCall;
        stop.throwIfAborted();
        // One that reads is prepared while the intent goes to the disk.
        if (!tool.undo?.preparesByReading) await recorded;
        stop.throwIfAborted();
        const plan = await afterBoth(recorded, prepareUndo(undos, call, given));
        kept = tool.undo !== undefined;
        stop.throwIfAborted();
        return run(parts, tool, given, plan);
      }),
    );
    const text = await validation.output(tool, output);
    return { result: { success: true, output: text, error: "", durationMs: duration() }, kept };
  } catch (error) {
    const failed = failureOf(parts.noticed(error), tool.name, parts.log);
    return { result: { success: false, output: "", ...failed, durationMs: duration() }, kept };
  }
}

interface Acted {
  readonly result: Result;
  /** A plan that takes it back is on disk. */
  readonly kept: boolean;
}

/** Gives the result of `work` once both are done. Waits for both, also when one fails: what was begun has ended by then. */
async function afterBoth<T>(before: Promise<void>, work: Promise<T>): Promise<T> {
  await Promise.allSettled([before, work]);
  await before;
  return work;
}

async function prepareUndo(undos: Undos, { tool, needs, locks, role }: Admitted, given: AnyCall): Promise<unknown> {
  if (tool.undo === undefined) return undefined;
  const { executionId } = given;
  const plan = await tool.undo.prepare(given, undos.backups(executionId));
  await undos.keep({ executionId, tool: tool.name, needs, locks, role, plan });
  return plan;
}

/** Runs a tool. What it leaves half done when it fails is cleared away as after a crash, where the tool wants that. */
async function run({ undos, log }: Parts, { undo, ...tool }: Tool, given: AnyCall, plan: unknown): Promise<unknown> {
  try {
    return await tool.run(given, plan);
  } catch (error) {
    const { executionId } = given;
    if (undo?.settlesFailures)
      await undo.settle?.(plan, { executionId, backups: undos.backups(executionId) }).catch((failure: unknown) => {
        log.warn("what a failed execution left half done could not be cleared away", { executionId, error: failure });
      });
    throw error;
  }
}

/** Writes the outcome down. The act is done by now: when that fails the caller hears of both. */
export async function conclude(ledger: Ledger, facts: Facts, result: Result): Promise<void> {
  try {
    await ledger.append(outcome(facts, result));
  } catch (error) {
    const done = result.success ? "was done" : `failed (${result.error})`;
    throw new AiosError(
      "RESOURCE_EXHAUSTED",
      {
        act: "record the outcome of",
        object: `${facts.tool}, execution ${facts.executionId}`,
        reason: `it ${done}, but the ledger cannot be written`,
        next: "free space on the data partition; at its next start the daemon closes the execution as interrupted",
      },
      { cause: error },
    );
  }
}

/** The words and code of a failure for its caller. The rest goes to the log. */
export function failureOf(error: unknown, tool: string, log: Log): { error: string; errorCode: Code } {
  if (error instanceof AiosError && error.code !== "INTERNAL") return { error: error.message, errorCode: error.code };
  log.error("tool failed", { tool, error });
  const cause = error instanceof AiosError ? undefined : errnoOf(error);
  const look = `look for correlation id ${correlationId() ?? "(none)"} in the machine's log`;
  return { error: `${tool}: ${cause ?? `internal error; ${look}`}`, errorCode: "INTERNAL" };
}
