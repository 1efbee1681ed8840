/** Writes text until one of the stop texts comes, which is not written; it may come in several parts. */
interface StopText {
  /** True once a stop text has come: nothing more is written. */
  readonly stopped: boolean;
  add(text: string): void;
  /** Writes what was held back since it could have been the beginning of a stop text. */
  end(): void;
}

export function stopText(stops: readonly string[], write: (text: string) => void): StopText {
  const longest = Math.max(0, ...stops.map(({ length }) => length));
  let held = "";
  let stopped = false;
  const say = (text: string) => {
    if (text !== "") write(text);
  };

  return {
    get stopped() {
      return stopped;
    },
    add(text) {
      if (stopped) return;
      held += text;
      const at = firstOf(stops, held);
      if (at !== undefined) {
        stopped = true;
        say(held.slice(0, at));
        return;
      }
      const keep = beginning(stops, held, longest);
      say(held.slice(0, held.length - keep));
      held = held.slice(held.length - keep);
    },
    end() {
      if (!stopped) say(held);
      held = "";
    },
  };
}

/** Where the stop text begins that is complete first, so that it does not matter in which parts the text came. */
function firstOf(stops: readonly string[], text: string): number | undefined {
  let first: { at: number; end: number } | undefined;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at >= 0 && (first === undefined || at + stop.length < first.end)) first = { at, end: at + stop.length };
  }
  return first?.at;
}

/** How many of the last characters of `text` may be the beginning of a stop text. */
function beginning(stops: readonly string[], text: string, longest: number): number {
  for (let length = Math.min(longest - 1, text.length); length > 0; length--) {
    const end = text.slice(-length);
    if (stops.some((stop) => stop.startsWith(end))) return length;
  }
  return 0;
}
