import { AiosError, messageOf } from "#lib/errors";

/** Everything that agents have started: an emergency stop holds it. */
export interface Holding {
  /** `hold` keeps one kind of it from running on, or lets it; it is asked again by each call. */
  add(what: string, hold: (held: boolean) => Promise<void> | void): void;
  /** Holds all of it, or lets it go on. Throws FAILED_PRECONDITION with what could not be held; the rest is. */
  set(held: boolean): Promise<void>;
}

export function openHolding(): Holding {
  const kinds: { readonly what: string; hold(held: boolean): Promise<void> | void }[] = [];
  let before: Promise<unknown> = Promise.resolve();
  const all = async (held: boolean) => {
    const done = await Promise.allSettled(kinds.map(async ({ hold }) => hold(held)));
    const failed = done.flatMap((one, at) =>
      one.status === "rejected" ? [`${kinds[at]?.what}: ${messageOf(one.reason)}`] : [],
    );
    if (failed.length === 0) return;
    const act = held ? "hold" : "release";
    throw new AiosError("FAILED_PRECONDITION", { act, object: "what agents started", reason: failed.join("; ") });
  };
  return {
    add: (what, hold) => kinds.push({ what, hold }),
    set: (held) => {
      // One after the other: what is asked last is what is so.
      const done = before.then(() => all(held));
      before = done.catch(() => {});
      return done;
    },
  };
}
