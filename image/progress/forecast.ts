import type { Forecast } from "./events.ts";
import { weights } from "./weights.ts";

/** A step, as far as its time is concerned. */
export interface TimedStep {
  readonly name: string;
  readonly needs: readonly string[];
  /** It will run. */
  readonly stale: boolean;
  /** How long it took here the last time; undefined when it was never built. */
  readonly rememberedMs: number | undefined;
}

/** How long a step takes on this machine, alone: what it took, else what the table says. */
export function expectedMs(step: Pick<TimedStep, "name" | "rememberedMs">, cores: number): number | undefined {
  const weight = weights[step.name];
  if (step.rememberedMs !== undefined || weight === undefined) return step.rememberedMs;
  return (weight.seconds * 1_000) / (weight.everyCore ? cores : 1);
}

/** For each step how long it takes until the last one that waits for it has ended, its own time included. */
export function pathsAhead(steps: readonly TimedStep[], cores: number): ReadonlyMap<string, number> {
  const ahead = new Map<string, number>();
  // Each comes after its needs: from the last one on, what waits for a step is known before the step.
  for (const step of steps.toReversed()) {
    const after = steps.filter(({ needs }) => needs.includes(step.name)).map(({ name }) => ahead.get(name) ?? 0);
    ahead.set(step.name, (step.stale ? (expectedMs(step, cores) ?? 0) : 0) + Math.max(0, ...after));
  }
  return ahead;
}

/** How long a build takes: no less than its longest path, and no less than all its work spread over the cores. */
export function forecast(steps: readonly TimedStep[], cores: number): Forecast {
  const stale = steps.filter((step) => step.stale);
  const work = stale.map((step) => (expectedMs(step, cores) ?? 0) * (weights[step.name]?.everyCore ? cores : 1));
  const remembered = stale.filter(({ rememberedMs }) => rememberedMs !== undefined).length;
  return {
    stale: stale.length,
    steps: steps.length,
    ms: Math.max(0, ...pathsAhead(steps, cores).values(), work.reduce((sum, each) => sum + each, 0) / cores),
    cores,
    by: remembered === stale.length ? "this machine" : remembered === 0 ? "the table" : "both",
  };
}
