/**
 * The gate is shown the union of what the model asks for and what the tool needs; what it does not speak of is denied.
 * House rules come first and can only refuse: the session's tools, the budget, the mode `recover`, the loop guard. One
 * question to a person for each capability that must be approved; when all are, the call passes the gate again, so a
 * policy that has become stricter holds. The decision is in the journal before anybody is told. Conversations do not
 * use this: they leave the port of approvals out, since the tools ask, and a kernel without it denies what would have
 * to be approved.
 */
import { AiosError, messageOf } from "#lib/errors";
import { callKey } from "./calls.ts";
import type { Limits } from "./limits.ts";
import type { Note } from "./notes.ts";
import type { PolicyGateDecision, Ports, ToolRequirements } from "./ports.ts";
import type { BranchState, OpenCall } from "./state.ts";

type Findings = { readonly rule: string; readonly refused?: string; readonly remark?: string };

interface Case {
  readonly state: BranchState;
  readonly open: OpenCall;
  readonly needs: ToolRequirements;
  readonly limits: Limits;
}

/** The house rules, in their order; the first that has something to say is heard. They can refuse, never allow. */
const houseRules: readonly ((given: Case) => Findings | undefined)[] = [
  ({ state, open }) => {
    const allowed = state.config?.allowed_tools;
    if (allowed === undefined || allowed.includes(open.call.tool_name)) return undefined;
    return { rule: "allowed-tools", refused: `${open.call.tool_name} is not among the tools of this session` };
  },
  ({ state }) =>
    state.budget.tool_calls_remaining > 0 ? undefined : { rule: "budget", refused: "the tool calls are used up" },
  ({ state, needs, limits }) =>
    needs.changes && state.vitals.errorStreak >= limits.breakerErrors
      ? { rule: "recover", refused: "after so many errors in a row only calls that change nothing; look first" }
      : undefined,
  loopGuard,
];

/** The same call with the same input again and again. */
function loopGuard({ state, open, limits }: Case): Findings | undefined {
  const key = callKey(open.call);
  const times = (state.run?.window ?? []).filter((other) => other === key).length;
  const same = `the same call with the same input, ${times} times`;
  if (times >= limits.loopBlock) return { rule: "loop-guard", refused: `${same}: it will give nothing new` };
  return times >= limits.loopWarn ? { rule: "loop-guard", remark: same } : undefined;
}

/**
 * Asks the gate about a call. It is shown all that the model asked for and all that the tool itself needs, so that
 * neither can slip by. Throws when the gate or the harness cannot be asked.
 */
export async function judge(
  ports: Pick<Ports, "gate" | "tools" | "approvals">,
  state: BranchState,
  open: OpenCall,
  limits: Limits,
): Promise<Note<"aios.gate_evaluated">> {
  const { call } = open;
  const nothing = { allowed: [], requires_approval: [], denied: [] };
  const asked = [...new Set(call.requested_capabilities)];
  let needs: ToolRequirements;
  try {
    needs = await ports.tools.requirements(call);
  } catch (error) {
    if (!(error instanceof AiosError) || !unfit.has(error.code)) throw error;
    const base = { call_id: call.call_id, requested: asked, decision: nothing, risk: "low", changes: false } as const;
    return { ...base, rule: "tool", refused: messageOf(error) };
  }
  const requested = [...new Set([...asked, ...needs.capabilities])];
  const found = houseRules.map((rule) => rule({ state, open, needs, limits })).find((said) => said !== undefined);
  const decision =
    found?.refused === undefined ? await decisionOf(ports, state, requested) : { ...nothing, denied: requested };
  const { risk, changes } = needs;
  return { call_id: call.call_id, requested, decision, risk, changes, ...found };
}

async function decisionOf(
  { gate, approvals }: Pick<Ports, "gate" | "approvals">,
  { sessionId, config }: BranchState,
  requested: readonly string[],
): Promise<PolicyGateDecision> {
  // The gate may know nothing of a session that an earlier kernel has made.
  if (config !== undefined) await gate.set_policy(sessionId, config.policy);
  const decision = await gate.evaluate(sessionId, requested);
  if (approvals !== undefined) return decision;
  const { allowed, requires_approval, denied } = decision;
  return { allowed, requires_approval: [], denied: [...denied, ...requires_approval] };
}

/** The call itself is wrong: no such tool, or not its input. */
const unfit = new Set(["NOT_FOUND", "INVALID_ARGUMENT"]);
