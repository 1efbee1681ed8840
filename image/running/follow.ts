import { callEvery } from "#lib/clock";
import { type BuildEvent, type Count, expectedMs, openReading, type TimedStep, weights } from "../progress/index.ts";
import type { StepFollower } from "../step.ts";

/** A step that runs, with what it did the last time. */
export interface FollowedStep extends TimedStep {
  readonly rememberedCount: Count | undefined;
}

const tickMs = 1_000;

/** With fewer objects than this the time left is a guess: the first ones are made while headers are written. */
const objectsMin = 20;

/** A count of objects may differ by so much from the table's before it is said. */
const tolerance = 0.1;

/** Who is told of a step. */
interface Following {
  readonly cores: number;
  /** How often, when not every second. */
  readonly everyMs?: number;
  log(event: BuildEvent): void;
}

/** Follows a step from now on until `end`, and tells each second where it is. */
export function followStep(step: FollowedStep, { cores, log, everyMs = tickMs }: Following) {
  const reading = openReading();
  const started = performance.now();
  let counting: number | undefined;
  const count = (): Count | undefined => {
    const { count } = reading;
    return count?.unit === "objects" ? { ...count, total: objectsOf(step) } : count;
  };
  const end = callEvery(everyMs, () => {
    const now = performance.now();
    log({
      kind: "progress",
      step: step.name,
      elapsedMs: Math.round(now - started),
      expectedMs: expectedMs(step, cores),
      count: count(),
      leftMs: counting === undefined ? undefined : leftMs(count(), now - counting),
    });
  });
  const follower: Omit<StepFollower, "stop"> = {
    read(line) {
      const passing = reading.read(line);
      if (counting === undefined && reading.count?.unit === "objects") counting = performance.now();
      return passing;
    },
    get count() {
      return reading.count;
    },
  };
  return { follower, end };
}

/** How many objects a step will compile: as many as the last time, else as the table says. */
function objectsOf({ name, rememberedCount }: FollowedStep): number | undefined {
  return rememberedCount?.unit === "objects" ? rememberedCount.done : weights[name]?.objects;
}

/** How long the rest takes at the pace of what is done, `ms` after counting began; undefined where that tells nothing. */
export function leftMs(count: Count | undefined, ms: number): number | undefined {
  if (count?.unit !== "objects" || count.total === undefined || count.done < objectsMin) return undefined;
  return count.done >= count.total ? undefined : Math.round((ms / count.done) * (count.total - count.done));
}

/** What to correct where a step compiled another number of objects than the table says; undefined when it did not. */
export function strayCount(step: string, count: Count | undefined): string | undefined {
  const declared = weights[step]?.objects;
  if (declared === undefined || count?.unit !== "objects") return undefined;
  if (Math.abs(count.done - declared) <= declared * tolerance) return undefined;
  return `it compiled ${count.done} objects, image/progress/weights.ts says ${declared}: correct it there`;
}
