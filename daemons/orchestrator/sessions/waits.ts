/** Which calls of sessions wait for a person. */
export interface Waits {
  tell(session: string, callId: string, approval: string): void;
  /** Calls `hear` with the calls of a session that were told of, and with each that is told of. Returns what ends it. */
  listen(session: string, hear: Listener): () => void;
}

type Listener = (callId: string, approval: string) => void;

/** Calls that are remembered, at most. */
const callsMax = 1_000;

export function openWaits(): Waits {
  const known = new Map<string, { readonly session: string; readonly approval: string }>();
  const listeners = new Set<{ readonly session: string; readonly hear: Listener }>();
  return {
    tell(session, callId, approval) {
      known.delete(callId);
      known.set(callId, { session, approval });
      const [oldest] = known.keys();
      if (known.size > callsMax && oldest !== undefined) known.delete(oldest);
      for (const one of listeners) if (one.session === session) one.hear(callId, approval);
    },
    listen(session, hear) {
      const one = { session, hear };
      listeners.add(one);
      for (const [callId, of] of known) if (of.session === session) hear(callId, of.approval);
      return () => void listeners.delete(one);
    },
  };
}
