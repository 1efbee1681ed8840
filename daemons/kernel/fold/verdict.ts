import type { Note } from "../notes.ts";
import type { BranchState, Judgement, OpenCall } from "../state.ts";

/**
 * The meaning of the gate's answer for a call: denied by a house rule or the gate, to be approved by a person, or
 * allowed.
 */
function judgementOf(note: Note<"aios.gate_evaluated">, approved: readonly string[]): Judgement {
  const { requested, decision, risk, changes, rule, refused, remark } = note;
  const known = new Set([...decision.allowed, ...decision.requires_approval]);
  // What the gate said nothing about is denied.
  const denied = requested.filter((capability) => decision.denied.includes(capability) || !known.has(capability));
  const missing = decision.requires_approval.filter((capability) => !approved.includes(capability));
  const facts = { requested, decision, risk, changes, missing, ...(rule === undefined ? {} : { rule }) };
  if (refused !== undefined) return { ...facts, verdict: "deny", explanation: refused };
  if (denied.length > 0) return { ...facts, verdict: "deny", explanation: `denied: ${denied.join(", ")}` };
  if (missing.length > 0)
    return { ...facts, verdict: "require_approval", explanation: `a person must approve ${missing.join(", ")}` };
  const said = remark ?? (approved.length > 0 ? `approved: ${approved.join(", ")}` : undefined);
  return { ...facts, verdict: "allow", ...(said === undefined ? {} : { explanation: said }) };
}

/** The state with the open call judged. */
export function applyVerdict(state: BranchState, note: Note<"aios.gate_evaluated">): BranchState {
  const { run } = state;
  if (run?.call?.call.call_id !== note.call_id) return state;
  const judgement = judgementOf(note, run.call.approved);
  const call: OpenCall = { ...run.call, stage: "judged", told: false, tickets: [], judgement };
  const exhausted = note.rule === "budget" ? { exhausted: "tool calls" } : {};
  return { ...state, vitals: { ...state.vitals, risk: note.risk }, run: { ...run, ...exhausted, call } };
}
