import { AiosError } from "#lib/errors";

/** Calls that wait for a model at most; further ones are refused. */
export const queueLengthMax = 64;

/** Lets one act run at a time, the others in the order in which they came. */
export interface Queue {
  readonly length: number;
  /** RESOURCE_EXHAUSTED when full; rejects with the signal's reason when it is aborted while waiting. */
  run<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

export function createQueue(name: string): Queue {
  const waiting: (() => void)[] = [];
  let busy = false;

  const turn = (signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      const start = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        waiting.splice(waiting.indexOf(start), 1);
        reject(signal.reason);
      };
      waiting.push(start);
      signal.addEventListener("abort", leave, { once: true });
    });

  return {
    get length() {
      return waiting.length;
    },
    async run(act, signal) {
      signal.throwIfAborted();
      if (busy) {
        if (waiting.length >= queueLengthMax) throw full(name);
        await turn(signal);
      }
      busy = true;
      try {
        return await act();
      } finally {
        const next = waiting.shift();
        if (next === undefined) busy = false;
        else next();
      }
    },
  };
}

function full(name: string): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "ask model",
    object: name,
    reason: `${queueLengthMax} calls are waiting for it already`,
    next: "ask again later",
  });
}
