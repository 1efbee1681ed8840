import type { Clock } from "#lib/clock";
import { type Event, sizeBytes } from "./records.ts";

/** Events older than this are dropped, and so is the oldest while there are too many, in number or in bytes. */
const ageMaxMs = 3_600_000;
const bytesMax = 67_108_864;

/** The last events, in a ring, found by category and source without looking at the others. */
interface Ring {
  push(event: Event): void;
  /** Newest first; of one category and source, or (empty) of all. */
  newest(category: string, source: string): Iterable<Event>;
  size(): { readonly events: number; readonly bytes: number };
}

/** Numbers of events in the order in which they came: those of one category, or of one source. */
interface Trail {
  readonly numbers: number[];
  /** How many at the front are gone. */
  gone: number;
}

/** Events are numbered as they come; number n is in slot n modulo the ring's size. */
export function openRing(entriesMax: number, clock: Clock): Ring {
  const slots: (Event | undefined)[] = new Array(entriesMax);
  const sizes = new Float64Array(entriesMax);
  const byCategory = new Map<string, Trail>();
  const bySource = new Map<string, Trail>();
  let first = 0;
  let next = 0;
  let bytes = 0;

  const at = (number: number) => slots[number % entriesMax] as Event;
  const dropFirst = () => {
    const event = at(first);
    bytes -= sizes[first % entriesMax] ?? 0;
    dropFromTrail(byCategory, event.category);
    dropFromTrail(bySource, event.source);
    slots[first % entriesMax] = undefined;
    first++;
  };
  const dropOld = () => {
    const oldest = clock.now() - ageMaxMs;
    while (first < next && at(first).timestamp < oldest) dropFirst();
  };

  return {
    push(event) {
      if (next - first === entriesMax) dropFirst();
      const size = sizeBytes(event);
      slots[next % entriesMax] = event;
      sizes[next % entriesMax] = size;
      addToTrail(byCategory, event.category, next);
      addToTrail(bySource, event.source, next);
      bytes += size;
      next++;
      while (bytes > bytesMax) dropFirst();
      dropOld();
    },
    *newest(category, source) {
      dropOld();
      // An event that came late is behind younger ones: it is past its time before it is dropped.
      const oldest = clock.now() - ageMaxMs;
      const trails = [
        ...(category === "" ? [] : [byCategory.get(category)]),
        ...(source === "" ? [] : [bySource.get(source)]),
      ];
      const [shortest] = trails.sort((a, b) => lengthOf(a) - lengthOf(b));
      const wanted = (event: Event) =>
        event.timestamp >= oldest &&
        (category === "" || event.category === category) &&
        (source === "" || event.source === source);
      if (trails.length > 0 && shortest === undefined) return;
      const [from, to] = shortest === undefined ? [first, next] : [shortest.gone, shortest.numbers.length];
      for (let index = to - 1; index >= from; index--) {
        const event = at(shortest === undefined ? index : (shortest.numbers[index] as number));
        if (wanted(event)) yield event;
      }
    },
    size: () => ({ events: next - first, bytes }),
  };
}

const lengthOf = (trail: Trail | undefined) => (trail === undefined ? 0 : trail.numbers.length - trail.gone);

function addToTrail(trails: Map<string, Trail>, key: string, number: number): void {
  const known = trails.get(key);
  if (known === undefined) trails.set(key, { numbers: [number], gone: 0 });
  else known.numbers.push(number);
}

/** The first of the ring is the first of its trails. */
function dropFromTrail(trails: Map<string, Trail>, key: string): void {
  const trail = trails.get(key);
  if (trail === undefined) return;
  trail.gone++;
  if (trail.gone === trail.numbers.length) trails.delete(key);
  else if (trail.gone > 1_000 && trail.gone * 2 > trail.numbers.length) {
    trail.numbers.splice(0, trail.gone);
    trail.gone = 0;
  }
}
