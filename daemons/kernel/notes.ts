/**
 * Facts that the kernel must remember and the protocol has no kind for: Custom events with a shape of their own.
 *
 * They are a run's request, the model's whole answer before anything is done about it (a restart does not ask again),
 * the gate's whole answer, a cancellation.
 */
import type { EventKind } from "./kinds.ts";
import { modelCompletion } from "./ports.ts";
import { policyGateDecision, riskLevel, toolCall } from "./shapes.ts";
import { bool, f64, list, optional, str, struct, type TypeOf, u32, u64 } from "./wire.ts";

const shapes = {
  /** Somebody asked for something: the run begins here, and ends. */
  "aios.run_requested": struct({
    run_id: str,
    objective: str,
    actor: str,
    proposed_tool: optional(toolCall),
    provider: str,
    max_iterations: u32,
  }),
  /** The model's whole answer, before anything is done about it. A restart goes on from here without asking again. */
  "aios.model_completed": struct({ completion: modelCompletion, duration_ms: u64, cost_usd: f64 }),
  /** The gate's whole answer about a call. */
  "aios.gate_evaluated": struct({
    call_id: str,
    /** Capabilities that the model asked for and that the tool needs. */
    requested: list(str),
    decision: policyGateDecision,
    risk: riskLevel,
    changes: bool,
    /** The house rule that refuses or remarks, where one does, and why. */
    rule: optional(str),
    refused: optional(str),
    remark: optional(str),
  }),
  "aios.run_cancelled": struct({ run_id: str, reason: str, actor: str }),
  /** The branch was merged into another one; nothing is added to it any more. */
  "aios.branch_closed": struct({ merged_into: str }),
} as const;

type Shapes = typeof shapes;
type NoteName = keyof Shapes;
export type Note<N extends NoteName> = TypeOf<Shapes[N]>;

/** The event that keeps a note. Throws INVALID_ARGUMENT when the note is not of its shape. */
export function noteEvent<N extends NoteName>(name: N, note: Note<N>): EventKind {
  const shape = shapes[name] as { write(value: Note<N>, at: string): string };
  return { type: "Custom", event_type: name, data: JSON.parse(shape.write(note, name)) };
}

type AnyNote = { [N in NoteName]: { readonly name: N; readonly note: Note<N> } }[NoteName];

/** The note that an event keeps, if it keeps one. */
export function noteIn(kind: EventKind): AnyNote | undefined {
  if (kind.type !== "Custom" || !Object.hasOwn(shapes, kind.event_type)) return undefined;
  const name = kind.event_type as NoteName;
  return { name, note: shapes[name].read(kind.data, name) } as AnyNote;
}
