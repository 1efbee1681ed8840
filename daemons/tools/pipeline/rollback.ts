import { parseCapability } from "#lib/capability";
import { AiosError } from "#lib/errors";
import { allows } from "#lib/identity/role";
import { uuidOf } from "#lib/ids";
import type { Identity } from "#lib/rpc/service";
import type { Grants, Registry } from "../access/index.ts";
import type { Entry } from "../ledger/index.ts";
import type { Prepared } from "../state/index.ts";
import { asCalled, type Tool } from "../tool.ts";
import { withDeadline } from "./deadline.ts";
import { conclude, failureOf, type Parts } from "./execute.ts";
import type { Once } from "./once.ts";
import { type Facts, intent, type Result, refusal } from "./record.ts";

/** A rollback that takes longer is given up; it can be asked for again. */
const rollbackTimeoutMs = 120_000;

const reasonLengthMax = 1024;

/** Executions that are taken back together at most. */
const togetherMax = 100;

interface RollbackWish {
  /** What is to be taken back. */
  readonly executionIds: string;
  readonly reason: string;
  /** Also what was changed since: a person's to say. */
  readonly force?: boolean | undefined;
  /** The caller's own id for the rollback: it is begun at most once. */
  readonly id?: string | undefined;
}

export interface Rollbacks {
  /**
   * Takes back what an execution changed, once. Throws NOT_FOUND (no such execution), FAILED_PRECONDITION (nothing to take back,
   * or taken back already), PERMISSION_DENIED and RESOURCE_EXHAUSTED (the disk is full); what fails after that is told in the result.
   * Of several (ids with commas between them, at most 100) the latest is taken back first, and the result says of each that
   * could not be taken back why; the others are. Asked for again by the same id it is told what came of it.
   */
  rollback(wish: RollbackWish, caller: Identity, signal: AbortSignal): Promise<Result>;
  /** Clears away what executions that were interrupted left half done. */
  settle(executionIds: readonly string[]): Promise<void>;
}

interface RollbackParts extends Parts {
  readonly registry: Registry;
  readonly grants: Grants;
  readonly once: Once;
}

export function openRollbacks(parts: RollbackParts): Rollbacks {
  const { registry, ledger, undos, once, log } = parts;
  const one = (executionId: string, wish: RollbackWish, caller: Identity, signal: AbortSignal): Promise<Result> => {
    const input = inputFor(executionId);
    const { id, reason } = wish;
    const known = id === undefined ? undefined : ledger.ofExecution(id)[0];
    if (known !== undefined && known.input !== input)
      throw new AiosError("INVALID_ARGUMENT", `roll back ${executionId}: the id ${id} is that of another execution`);
    const request = { tool: asTool, agentId: "", taskId: "", inputJson: Buffer.from(input), reason, executionId: id };
    return once.outcomeOf(request, caller, signal, async (own) => ({
      ...(await begin(own, executionId, wish, caller, signal)),
      executionId: own,
      reversible: false,
    }));
  };
  const begin = async (
    own: string,
    executionId: string,
    { reason, force = false }: RollbackWish,
    caller: Identity,
    signal: AbortSignal,
  ): Promise<Result> => {
    const { redaction } = await parts.policies.current();
    const facts = { ...factsOf(own, executionId, reason, caller), redaction };
    const execution = ledger.ofExecution(executionId).find(({ kind }) => kind === "intent");
    if (execution === undefined)
      throw new AiosError("NOT_FOUND", `roll back ${executionId}: there is no such execution`);
    await permit(parts, execution, facts);
    const called = asCalled(registry.find(execution.tool), inputOf(execution));
    preparedFor(parts, called, executionId);
    // What was there may need more room than what is there.
    parts.reserve.admit({ name: "rollback", effect: "change" }, caller);
    await ledger.append(intent(facts));
    const result = await undo(parts, called, executionId, signal, force && caller.kind === "operator");
    await conclude(ledger, facts, result);
    return result;
  };
  return {
    rollback: async (wish, caller, signal) => {
      const { executionIds, reason, id } = wish;
      const ids = [...new Set(executionIds.split(","))];
      if (
        reason.length > reasonLengthMax ||
        ids.length > togetherMax ||
        ids.some((one) => !/^[0-9a-f-]{36}$/.test(one))
      ) {
        throw new AiosError(
          "INVALID_ARGUMENT",
          `roll back: expected at most ${togetherMax} execution ids, and a reason of at most ${reasonLengthMax} characters`,
        );
      }
      const [only = ""] = ids;
      if (ids.length === 1) return one(only, wish, caller, signal);
      // Each is a rollback of its own.
      const idFor = (of: string) => (id === undefined ? undefined : uuidOf(id, of));
      return inReverse(parts, ids, (of) => one(of, { ...wish, id: idFor(of) }, caller, signal));
    },
    settle: async (executionIds) => {
      for (const executionId of executionIds) {
        const prepared = undos.find(executionId);
        if (prepared?.state !== "ready") continue;
        try {
          await registry
            .find(prepared.tool)
            .undo?.settle?.(prepared.plan, { executionId, backups: undos.backups(executionId) });
        } catch (error) {
          log.warn("what an interrupted execution left half done could not be cleared away", { executionId, error });
        }
      }
    },
  };
}

/** Takes back several executions, the latest first, and gathers what could not be. */
async function inReverse(
  { ledger, clock, log }: Parts,
  ids: readonly string[],
  one: (id: string) => Promise<Result>,
): Promise<Result> {
  const started = clock.monotonic();
  const sequenceOf = (id: string) => ledger.ofExecution(id)[0]?.sequence ?? 0;
  const latestFirst = ids.map((id) => ({ id, at: sequenceOf(id) })).sort((a, b) => b.at - a.at);
  const failures: string[] = [];
  for (const { id } of latestFirst) {
    try {
      const { success, error } = await one(id);
      if (!success) failures.push(`${id}: ${error}`);
    } catch (error) {
      failures.push(`${id}: ${failureOf(error, "rollback", log).error}`);
    }
  }
  const durationMs = Math.round(clock.monotonic() - started);
  return { success: failures.length === 0, output: "{}", error: failures.join("\n"), durationMs };
}

/** Its name in the ledger. */
const asTool = "rollback";
const inputFor = (executionId: string) => JSON.stringify({ execution_id: executionId });

function factsOf(executionId: string, of: string, reason: string, caller: Identity): Omit<Facts, "redaction"> {
  return { executionId, caller, agentId: "", tool: asTool, taskId: "", reason, input: inputFor(of) };
}

/** As the ledger has it: of a long one nothing but its beginning, in which no flag is looked for. */
function inputOf({ input }: Entry): unknown {
  try {
    return JSON.parse(input);
  } catch {
    return {};
  }
}

/** Core daemons and people may take back what they may do; an agent what it did itself and still may. */
async function permit(
  { registry, undos, grants, ledger, limits, policies }: RollbackParts,
  execution: Entry,
  facts: Facts,
): Promise<void> {
  const { caller, taskId } = facts;
  const own = execution.callerKind === "agent" && execution.caller === caller.name;
  const prepared = undos.find(execution.executionId);
  const tool = registry.find(execution.tool);
  const needs = prepared?.needs ?? [];
  const role = prepared?.role ?? tool.role;
  const may =
    tool.callers.includes(caller.kind) &&
    (caller.kind !== "operator" || allows(caller.role, role)) &&
    (caller.kind !== "agent" ||
      (own && needs.every((need) => grants.permits(caller.name, parseCapability(need), taskId))));
  if (may) return;
  const error = new AiosError("PERMISSION_DENIED", {
    act: "roll back",
    object: execution.executionId,
    reason:
      caller.kind === "operator"
        ? `what ${tool.name} did here needs the role ${role}, and ${caller.name} is ${caller.role}`
        : `${caller.name} may take back only what it did itself and still holds the grants for`,
    next: caller.kind === "operator" ? "ask an admin" : "ask the orchestrator or an operator",
  });
  limits.takeRefusal(facts.tool, caller, await policies.current());
  await ledger.append(refusal(facts, error.message));
  throw error;
}

function preparedFor({ undos }: Parts, tool: Tool, executionId: string): Prepared {
  const prepared = undos.find(executionId);
  if (prepared?.state === "ready") return prepared;
  const reasons = {
    undone: "it was rolled back already",
    expired: "its backup had to make room for newer ones",
  } as const;
  const without =
    tool.effect === "read"
      ? `${tool.name} changes nothing`
      : (tool.irreversible ?? "no undo is kept: it did not act, or was more than seven days ago");
  const reason = prepared === undefined ? without : reasons[prepared.state];
  throw new AiosError("FAILED_PRECONDITION", { act: "roll back", object: executionId, reason });
}

async function undo(
  parts: Parts,
  tool: Tool,
  executionId: string,
  signal: AbortSignal,
  force: boolean,
): Promise<Result> {
  const { clock, locks, undos, log } = parts;
  const started = clock.monotonic();
  const duration = () => Math.round(clock.monotonic() - started);
  try {
    await withDeadline(clock, rollbackTimeoutMs, signal, (stop) =>
      locks.run([`undo ${executionId}`, ...preparedFor(parts, tool, executionId).locks], async () => {
        stop.throwIfAborted();
        // Asked again: another rollback of the same execution may have come first.
        const { plan } = preparedFor(parts, tool, executionId);
        await tool.undo?.restore(plan, { executionId, backups: undos.backups(executionId), force });
        await undos.undone(executionId);
      }),
    );
    return { success: true, output: "{}", error: "", durationMs: duration() };
  } catch (error) {
    return { success: false, output: "", ...failureOf(parts.noticed(error), tool.name, log), durationMs: duration() };
  }
}
