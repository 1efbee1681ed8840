import { type BuildEvent, forecast, pathsAhead } from "../progress/index.ts";
import type { KeyedStep, StepCache } from "../step.ts";
import { type FollowedStep, followStep, strayCount } from "./follow.ts";
import { runSideBySide, type Task } from "./schedule.ts";

/** A build, with what it needs to know to run its steps. */
interface StepsRun {
  readonly plan: readonly KeyedStep[];
  readonly cache: StepCache;
  readonly repository: string;
  readonly cores: number;
  /** Aborted when the build is to end early. */
  readonly stop?: AbortSignal | undefined;
  /** How often it is told where steps are, when not every second. */
  readonly everyMs?: number;
  /** Why a step has to run; undefined when its output is in the cache. */
  reason(keyed: KeyedStep): string | undefined;
  log(event: BuildEvent): void;
}

/**
 * Runs what is stale of a plan, side by side where no step needs the other. Gives back the names of those that ran.
 * Throws what the first one that failed throws, after the others have ended; those that went well are in the cache.
 */
export async function runSteps(run: StepsRun): Promise<ReadonlySet<string>> {
  const { plan, cache, cores, log } = run;
  cache.sweep();
  const started = performance.now();
  const reasons = new Map(plan.map((keyed) => [keyed, run.reason(keyed)]));
  const steps = plan.map((keyed): FollowedStep => {
    const { name, needs } = keyed.step;
    const last = cache.remembered(name);
    const stale = reasons.get(keyed) !== undefined;
    return { name, needs, stale, rememberedMs: last?.durationMs, rememberedCount: last?.count };
  });
  log({ kind: "planned", ...forecast(steps, cores) });
  const ranks = pathsAhead(steps, cores);
  const tasks = plan.flatMap((keyed, index): Task[] => {
    const [reason, step] = [reasons.get(keyed), steps[index]];
    if (reason !== undefined && step !== undefined)
      return [{ ...step, rank: ranks.get(step.name) ?? 0, run: (stop) => runStep(run, keyed, step, reason, stop) }];
    keep(cache, keyed);
    log({ kind: "cached", step: keyed.step.name });
    return [];
  });
  try {
    // One more than there are cores: what waits for the network leaves its core to others, and the kernel's make fills all.
    await runSideBySide(tasks, cores + 1, run.stop);
  } finally {
    log({ kind: "over", ms: Math.round(performance.now() - started) });
  }
  return new Set(tasks.map(({ name }) => name));
}

async function runStep(run: StepsRun, keyed: KeyedStep, step: FollowedStep, why: string, stop: AbortSignal) {
  const { plan, cache, repository, log } = run;
  const need = (name: string) => {
    const found = plan.find((each) => each.step.name === name);
    if (found === undefined) throw new Error(`step ${name} is not in the plan`);
    return cache.output(found);
  };
  log({ kind: "started", step: step.name, why });
  const { follower, end } = followStep(step, run);
  try {
    await cache.build(keyed, repository, need, {
      stop,
      read: follower.read,
      get count() {
        return follower.count;
      },
    });
  } finally {
    end();
  }
  keep(cache, keyed);
  const stray = strayCount(step.name, follower.count);
  if (stray !== undefined) log({ kind: "remark", step: step.name, text: stray });
  log({ kind: "built", step: step.name, ms: cache.durationMs(keyed) });
}

function keep(cache: StepCache, keyed: KeyedStep): void {
  cache.touch(keyed);
  cache.prune(keyed.step.name);
}
