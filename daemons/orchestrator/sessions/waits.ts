/** Which calls of sessions wait for a person: one in each session at most. */
export interface Waits {
  tell(session: string, callId: string, approval: string): void;
  /** Calls `tell` with the call that was told of last, and with each that is told of. Returns what ends it. */
  listen(session: string, tell: Listener): () => void;
}

type Listener = (callId: string, approval: string) => void;

/** Sessions of which the last call is remembered, at most. */
const sessionsMax = 1_000;

export function openWaits(): Waits {
  const last = new Map<string, readonly [string, string]>();
  const listeners = new Set<{ readonly session: string; readonly tell: Listener }>();
  return {
    tell(session, callId, approval) {
      last.delete(session);
      last.set(session, [callId, approval]);
      const [oldest] = last.keys();
      if (last.size > sessionsMax && oldest !== undefined) last.delete(oldest);
      for (const one of listeners) if (one.session === session) one.tell(callId, approval);
    },
    listen(session, tell) {
      const one = { session, tell };
      listeners.add(one);
      const known = last.get(session);
      if (known !== undefined) tell(...known);
      return () => void listeners.delete(one);
    },
  };
}
