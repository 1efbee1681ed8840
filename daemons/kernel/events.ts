import { type EventKind, eventKind } from "./kinds.ts";
import { moment } from "./shapes.ts";
import { defaulted, optional, type Shape, str, struct, type TypeOf, u64, word } from "./wire.ts";

export { momentOf } from "./shapes.ts";
export type { Json } from "./wire.ts";

/** Reads an event as its kind when it is one, and else as Custom: a newer writer's events can be read. */
const openKind: Shape<EventKind> = {
  write: (value, at) => eventKind.write(value, at),
  read: (value, at) => {
    try {
      return eventKind.read(value, at);
    } catch {
      const { type, ...data } = (typeof value === "object" && value !== null ? value : {}) as Record<string, never>;
      return { type: "Custom", event_type: typeof type === "string" ? type : "Unknown", data };
    }
  },
};

const actor = struct({ type: word("user", "agent", "system"), component: optional(str) });
const schema = struct({ name: str, version: str });

/** The schema that this code writes. */
export const eventSchema = { name: "aios-protocol", version: "0.1.0" } as const;

/** The writer of an event that does not name one: the crate's own default. */
const unsaid = { type: "system", component: "arcan-daemon" } as const;

/**
 * One event of a session's branch: aios-protocol's `EventRecord`. Sequences begin at 1 in each session; a branch goes on from
 * where it forked. `timestamp` is RFC 3339 in UTC. `correlation_id` is the run's id, `causation_id` the event before in the run.
 */
const eventRecord = struct({
  event_id: str,
  session_id: str,
  agent_id: defaulted(str, ""),
  branch_id: str,
  sequence: u64,
  timestamp: moment,
  actor: defaulted<TypeOf<typeof actor>>(actor, unsaid),
  schema: defaulted<TypeOf<typeof schema>>(schema, eventSchema),
  causation_id: optional(str),
  correlation_id: optional(str),
  trace_id: optional(str),
  span_id: optional(str),
  digest: optional(str),
  kind: openKind,
});

export type EventRecord = TypeOf<typeof eventRecord>;

/** The JSON of an event, byte for byte as the crate writes it. Throws INVALID_ARGUMENT naming the field that is wrong. */
export function encodeEvent(event: EventRecord): string {
  return eventRecord.write(event, "event");
}

/**
 * An event from its JSON text, or from parsed JSON. Unknown kinds become Custom, unknown fields are dropped, absent ones take
 * the crate's defaults. Throws INVALID_ARGUMENT naming the field that is wrong.
 */
export function decodeEvent(text: string | object): EventRecord {
  return eventRecord.read(typeof text === "string" ? parse(text) : text, "event");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return eventRecord.read(text, "event");
  }
}
