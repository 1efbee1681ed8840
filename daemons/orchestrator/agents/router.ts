/** The demands of a task on its agent. */
export interface Need {
  readonly namespace: string;
  /** The agent that the plan asks for; empty = any. */
  readonly agent: string;
  /** 0 critical to 3 low. */
  readonly priority: number;
}

export interface Candidate {
  readonly name: string;
  readonly namespaces: readonly string[];
  readonly running: number;
  readonly runningMax: number;
  readonly completed: number;
  /** Registered and heard of. */
  readonly alive: boolean;
  /** Not coming back soon. */
  readonly hopeless: boolean;
}

/**
 * The agent that should do it now; undefined when none can at present: of those that could, the least loaded, a specialist
 * before one that covers much, then the one with most experience.
 */
export function chooseAgent(need: Need, candidates: readonly Candidate[]): string | undefined {
  return eligible(need, candidates)
    .filter(isFree)
    .toSorted(
      (a, b) =>
        a.running / a.runningMax - b.running / b.runningMax ||
        a.namespaces.length - b.namespaces.length ||
        b.completed - a.completed ||
        a.name.localeCompare(b.name),
    )[0]?.name;
}

/** Whether somebody is there to do it, now or when others are done. */
export function isAttended(need: Need, candidates: readonly Candidate[]): boolean {
  return eligible(need, candidates).some(({ alive }) => alive);
}

/** The one that the plan asks for, unless there is no hope for it; else those whose namespaces cover it. */
function eligible({ agent, namespace }: Need, candidates: readonly Candidate[]): readonly Candidate[] {
  const asked = candidates.find(({ name }) => name === agent);
  if (asked !== undefined && !asked.hopeless) return [asked];
  return candidates.filter(({ namespaces }) => namespaces.includes(namespace));
}

/** Whether it can take one more task at all. */
function isFree({ alive, running, runningMax }: Candidate): boolean {
  return alive && running < runningMax;
}
