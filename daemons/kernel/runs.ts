/**
 * Every run ends: by the model, or with its reason: budget (tokens, time, cost, calls, errors), breaker (three errors
 * in a row), iterations, events, cancelled. A run whose port is away is *stalled* and tried again by itself.
 */
import type { Kernel, TickResult } from "./api.ts";
import type { Branch, Standing } from "./branch.ts";
import { type Branches, busyError, checkedId, mainBranch, refusal, requireOpen } from "./branches.ts";
import { noteEvent } from "./notes.ts";
import { momentOf } from "./shapes.ts";
import type { BranchState } from "./state.ts";

/** Characters of an objective at most. */
const objectiveLengthMax = 65_536;

type Runs = Pick<Kernel, "submit" | "tick" | "resume" | "resolveApproval" | "cancel">;

/** The kernel's verbs about runs. */
export function runsOver(all: Branches): Runs {
  const submit: Kernel["submit"] = async (request) => {
    const { session, branch = mainBranch, objective, proposedTool, actor } = request;
    const on = all.at(session, branch);
    const runId = checkedId(request.runId ?? all.world.id());
    if (objective === "" || objective.length > objectiveLengthMax)
      throw refusal("INVALID_ARGUMENT", "take up", "an objective", `it has 1 to ${objectiveLengthMax} characters`);
    await on.add((state) => {
      if (state.run?.runId === runId || endOf(state, runId) !== undefined) return [];
      requireOpen(state);
      if (state.run !== undefined) throw busyError(state);
      const proposed = proposedTool === undefined ? {} : { proposed_tool: proposedTool };
      const max_iterations = proposedTool === undefined ? all.world.limits.iterationsMax : 1;
      const provider = proposedTool === undefined ? "model" : "inline";
      const note = { run_id: runId, objective, actor, ...proposed, provider, max_iterations };
      return [noteEvent("aios.run_requested", note)];
    });
    const done = on.drive().then((standing) => resultOf(on, runId, standing));
    done.catch(() => {});
    return { runId, done };
  };

  return {
    submit,
    tick: async (request) => (await submit(request)).done,
    resume: async (session, only) => {
      const { head } = await all.at(session, only ?? mainBranch).state();
      if (head === 0) throw refusal("NOT_FOUND", "resume", session, "there is no such session or branch");
      const names = only === undefined ? await all.names(session) : [only];
      const standings = await Promise.all(
        names.map(async (branch) => ({ branch, standing: await all.at(session, branch).drive() })),
      );
      if (only === undefined) await tidyApprovals(all, session, names);
      return standings;
    },
    resolveApproval: async (session, approvalId, approved, actor) => {
      for (const branch of await all.names(session)) {
        const on = all.at(session, branch);
        const before = await on.state();
        if (!asks(before, approvalId) && !before.decided.some((one) => one.approvalId === approvalId)) continue;
        const state = await on.add((now) =>
          !asks(now, approvalId)
            ? []
            : [
                {
                  type: "ApprovalResolved",
                  approval_id: approvalId,
                  decision: approved ? "approved" : "denied",
                  reason: actor,
                },
              ],
        );
        const decided = state.decided.find((one) => one.approvalId === approvalId) ?? { approved, actor };
        const done = on.drive();
        done.catch(() => {});
        const resolved_at = momentOf(all.world.clock.now());
        return { approval_id: approvalId, approved: decided.approved, actor: decided.actor, resolved_at, branch, done };
      }
      throw refusal("NOT_FOUND", "decide", approvalId, "no call of this session waits for it");
    },
    cancel: async (session, branch, reason, actor) => {
      const on = all.at(session, branch);
      const state = await on.add(({ run }) =>
        run === undefined || run.cancelled !== undefined
          ? []
          : [noteEvent("aios.run_cancelled", { run_id: run.runId, reason, actor })],
      );
      if (state.run?.cancelled !== undefined) on.interrupt(reason);
      return on.drive();
    },
  };
}

const endOf = ({ runs, branchId }: BranchState, runId: string) =>
  runs.find((run) => run.runId === runId && run.branchId === branchId);

async function resultOf(on: Branch, runId: string, standing: Standing): Promise<TickResult> {
  const end = endOf(await on.state(), runId);
  if (end !== undefined) return end;
  if (standing.status !== "idle") return standing;
  throw refusal("NOT_FOUND", "tell", `run ${runId}`, "it is not among the last runs of the branch");
}

/** Takes off the list what the journal of all branches says is decided, or asked by nobody. */
async function tidyApprovals(all: Branches, session: string, names: readonly string[]): Promise<void> {
  const { approvals } = all.world.ports;
  if (approvals === undefined) return;
  const states = await Promise.all(names.map((branch) => all.at(session, branch).state()));
  for (const { approval_id } of await approvals.list_pending(session)) {
    if (states.some((state) => asks(state, approval_id))) continue;
    const decided = states.flatMap((state) => state.decided).find((one) => one.approvalId === approval_id);
    await approvals.resolve(approval_id, decided?.approved ?? false, decided?.actor ?? "kernel");
  }
}

const asks = ({ run }: BranchState, approvalId: string): boolean =>
  run?.call?.tickets.some((ticket) => ticket.approvalId === approvalId && ticket.decision === undefined) ?? false;
