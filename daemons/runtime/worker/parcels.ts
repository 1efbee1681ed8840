/**
 * Text crosses two processes in parcels of 20 ms. With a message for each token and q8_0 weights answers came at 0.87
 * of the bare speed, with parcels and q4_0 at 1.05; the two were changed together, so how much is the parcels' is not
 * known. The first text goes at once.
 */

/** Sends text in parcels: each crosses two processes, on cores that the model computes on. */
interface Parcels {
  add(text: string): void;
  /** Sends what was kept. */
  end(): void;
}

/** Text that comes sooner than this after a parcel waits for the text after it, ms. */
const parcelMs = 20;

/** The first text is sent at once; of a model that takes longer for a token than a parcel waits, each token is. */
export function parcels(send: (text: string) => void, now: () => number = () => performance.now()): Parcels {
  let kept = "";
  let sentAt = Number.NEGATIVE_INFINITY;
  const flush = () => {
    if (kept === "") return;
    send(kept);
    kept = "";
    sentAt = now();
  };
  return {
    add(text) {
      kept += text;
      if (now() - sentAt >= parcelMs) flush();
    },
    end: flush,
  };
}
