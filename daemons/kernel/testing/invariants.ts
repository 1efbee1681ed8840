/** For tests: what must be true of a journal and the world after whatever happened. Each check names what is wrong. */
import type { EventRecord } from "../events.ts";
import type { KindName, KindOf } from "../kinds.ts";
import { noteIn } from "../notes.ts";
import { needs, type Promises, truth } from "./simulation.ts";
import type { ApprovalsTwin, ToolsTwin } from "./twins.ts";

interface Aftermath {
  /** The events that each branch itself has added, all branches one after the other. */
  readonly events: readonly EventRecord[];
  readonly tools: ToolsTwin;
  readonly approvals: ApprovalsTwin;
  readonly promises: Promises;
}

type Check = (aftermath: Aftermath) => readonly string[];

const kindsOf = <N extends KindName>(events: readonly EventRecord[], type: N) =>
  events.flatMap(({ kind, sequence }) => (kind.type === type ? [{ ...(kind as KindOf<N>), at: sequence }] : []));

/** Events are numbered without gaps, each once. */
const journalIsWhole: Check = ({ events }) => [
  ...events
    .filter(({ sequence, branch_id }, index) => {
      const before = events[index - 1];
      return before?.branch_id === branch_id && sequence !== before.sequence + 1;
    })
    .map(({ sequence }) => `event ${sequence} is out of place`),
  ...(new Set(events.map(({ event_id }) => event_id)).size === events.length ? [] : ["an event is there twice"]),
];

/** No call has two effects, two intents or two outcomes; nor has what one directive of the model asked for. */
const nothingTwice: Check = ({ events, tools }) => {
  const twice = (what: string, ids: readonly string[]) =>
    ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `${what} of ${id} is there twice`);
  return [
    ...twice(
      "the effect",
      tools.effects.map(({ call_id }) => call_id),
    ),
    ...twice(
      "the request",
      kindsOf(events, "ToolCallRequested").map(({ call_id }) => call_id),
    ),
    ...twice(
      "the intent",
      kindsOf(events, "ToolCallStarted").map(({ tool_run_id }) => tool_run_id),
    ),
    ...twice("the outcome", [
      ...kindsOf(events, "ToolCallCompleted").map(({ call_id = "" }) => call_id),
      ...kindsOf(events, "ToolCallFailed").map(({ call_id }) => call_id),
    ]),
  ];
};

/** Every effect was let through: all that the tool needs was shown to the gate, nothing of it denied, and the rest approved by a person. */
const nothingUngated: Check = ({ events, tools, promises }) =>
  tools.effects.flatMap(({ call_id, tool_name, requested_capabilities }) => {
    const started = kindsOf(events, "ToolCallStarted").find(({ tool_run_id }) => tool_run_id === call_id);
    if (started === undefined) return [`${call_id} took effect without an intent`];
    const shown = events
      .filter(({ sequence }) => sequence < started.at)
      .map(({ kind }) => noteIn(kind))
      .flatMap((note) => (note?.name === "aios.gate_evaluated" && note.note.call_id === call_id ? [note.note] : []))
      .at(-1);
    if (shown === undefined) return [`${call_id} was not shown to the gate`];
    const wanted = [...(needs[tool_name as keyof typeof needs]?.capabilities ?? []), ...requested_capabilities];
    return wanted.flatMap((capability) => {
      if (!shown.requested.includes(capability)) return [`${call_id}: the gate was not shown ${capability}`];
      if (truth(capability) === "allowed") return [];
      if (truth(capability) === "denied") return [`${call_id} took effect, and ${capability} is denied`];
      const ticket = `approval:${call_id}:${capability}`;
      const resolved = kindsOf(events, "ApprovalResolved").find(({ approval_id }) => approval_id === ticket);
      const approved = resolved?.decision === "approved" && resolved.at < started.at;
      return approved && promises.decisions.get(ticket) !== false ? [] : [`${call_id} was not approved`];
    });
  });

/** Every effect is told in the journal, and every act that the journal tells of was done. */
const nothingLost: Check = ({ events, tools, promises }) => {
  const completed = kindsOf(events, "ToolCallCompleted");
  const effects = new Set(tools.effects.map(({ call_id }) => call_id));
  const told = new Set(completed.map(({ call_id }) => call_id));
  const requested = new Set(
    events.flatMap(({ kind, branch_id }) => {
      const note = noteIn(kind);
      return note?.name === "aios.run_requested" ? [`${branch_id}/${note.note.run_id}`] : [];
    }),
  );
  const resolved = new Map(
    kindsOf(events, "ApprovalResolved").map((kind) => [kind.approval_id, kind.decision === "approved"]),
  );
  return [
    ...[...effects].filter((id) => !told.has(id)).map((id) => `${id} took effect, and the journal does not tell`),
    ...completed
      .filter(({ status, call_id = "" }) => status === "ok" && !effects.has(call_id))
      .map(({ call_id }) => `${call_id} did not happen`),
    ...[...promises.runs].filter((id) => !requested.has(id)).map((id) => `${id} was acknowledged and is lost`),
    ...[...promises.decisions]
      .filter(([id, approved]) => resolved.get(id) !== approved)
      .map(([id]) => `the decision about ${id} was acknowledged and is lost`),
  ];
};

/** Every run ends, once; and every call that was asked for is closed. */
const everythingEnds: Check = ({ events, approvals }) => {
  const ends = events.filter(({ kind }) => kind.type === "RunFinished" || kind.type === "RunErrored");
  const runOf = ({ branch_id, correlation_id }: EventRecord) => `${branch_id}/${correlation_id}`;
  const requested = events.flatMap((event) =>
    noteIn(event.kind)?.name === "aios.run_requested" ? [runOf(event)] : [],
  );
  const closed = new Set([
    ...kindsOf(events, "ToolCallCompleted").map(({ call_id = "" }) => call_id),
    ...kindsOf(events, "ToolCallFailed").map(({ call_id }) => call_id),
  ]);
  return [
    ...requested
      .map((id) => [id, ends.filter((event) => runOf(event) === id).length] as const)
      .filter(([, count]) => count !== 1)
      .map(([id, count]) => `${id} has ${count} ends`),
    ...kindsOf(events, "ToolCallRequested")
      .filter(({ call_id }) => !closed.has(call_id))
      .map(({ call_id }) => `${call_id} is open`),
    ...approvals.pending().map(({ approval_id }) => `${approval_id} still waits`),
  ];
};

/** A call whose capabilities were all approved was carried out, or the journal says why not. */
const approvedIsDone: Check = ({ events }) =>
  kindsOf(events, "ApprovalResolved")
    .filter(({ decision }) => decision === "approved")
    .flatMap(({ approval_id }) => {
      const asked = kindsOf(events, "ApprovalRequested").find((kind) => kind.approval_id === approval_id);
      const done = kindsOf(events, "ToolCallStarted").some(({ tool_run_id }) => tool_run_id === asked?.call_id);
      const refused = kindsOf(events, "ToolCallFailed").some(({ call_id }) => call_id === asked?.call_id);
      return done || refused ? [] : [`${asked?.call_id} was approved and neither done nor refused`];
    });

const checks: readonly Check[] = [
  journalIsWhole,
  nothingTwice,
  nothingUngated,
  nothingLost,
  everythingEnds,
  approvedIsDone,
];

/** All that is wrong; empty when all is well. */
export function violations(aftermath: Aftermath): string[] {
  return checks.flatMap((check) => check(aftermath));
}
