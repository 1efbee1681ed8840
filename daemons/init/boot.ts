import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Phase } from "./phases.ts";
import type { Supervisor } from "./supervisor.ts";
import type { UnitStatus } from "./units.ts";

/** What the phases ask of the machine once the units run. */
export interface BootNeeds {
  readonly supervisor: Supervisor;
  /** The units that a phase waits for. */
  readonly unitsOf: Readonly<Record<"runtime" | "core", readonly string[]>>;
  /** Why the runtime cannot load its model, or undefined while it still tries. */
  runtimeProblem(): Promise<string | undefined>;
  /** The agents that are configured and not (yet) registered. */
  missingAgents(): Promise<readonly string[]>;
  /** What is wrong with the ledger; empty when it is whole. */
  ledgerProblems(): Promise<readonly string[]>;
  readonly clock: Clock;
}

export const waits = {
  /** After so many failures in a row the boot goes on without the unit. */
  triesMax: 3,
  /** A phase that has not reached its aim by then is given up; what it waits for may still come. */
  phaseMs: 180_000,
  /** From the orchestrator's readiness. */
  agentsMs: 60_000,
  againMs: 100,
} as const;

/** The phases after the first, which makes the ground they stand on; `ground` is what it gives. */
export function bootPhases(ground: Promise<BootNeeds>): readonly Phase[] {
  return [
    {
      name: "runtime",
      run: async (giveUp) => {
        const needs = await ground;
        void watchRuntime(needs, giveUp);
        await unitsReady(needs, needs.unitsOf.runtime, giveUp);
      },
    },
    {
      name: "core",
      run: async (giveUp) => {
        const needs = await ground;
        await unitsReady(needs, needs.unitsOf.core, giveUp);
      },
    },
    { name: "agents", run: async (giveUp) => agentsRegistered(await ground, giveUp) },
    { name: "recovery", run: async (giveUp) => recovered(await ground, giveUp) },
  ];
}

/** Every unit ready at least once. Given up when one has failed too often, or when it takes too long. */
async function unitsReady(
  { supervisor, clock }: BootNeeds,
  names: readonly string[],
  giveUp: (detail: string) => void,
): Promise<void> {
  const why = (name: string, { reason }: UnitStatus) => giveUp(`${name}: ${reason}; see "aiosctl logs ${name}"`);
  const failing = supervisor.onChange((name, unit) => {
    if (names.includes(name) && unit.failures >= waits.triesMax && unit.state !== "ready") why(name, unit);
  });
  const done = new AbortController();
  clock.sleep(waits.phaseMs, done.signal).then(
    () => {
      const late = names.find((name) => supervisor.status(name).state !== "ready");
      if (late !== undefined) why(late, supervisor.status(late));
    },
    () => {},
  );
  await Promise.all(names.map((name) => supervisor.until(name, ({ state }) => state === "ready")));
  done.abort();
  failing();
}

/** The runtime stays up without its model, to say why: that is asked, not waited for. */
async function watchRuntime(
  { supervisor, runtimeProblem, clock, unitsOf }: BootNeeds,
  giveUp: (detail: string) => void,
) {
  const ready = () => unitsOf.runtime.every((name) => supervisor.status(name).state === "ready");
  while (!ready()) {
    const problem = await runtimeProblem().catch(() => undefined);
    if (problem !== undefined) return giveUp(problem);
    await clock.sleep(waits.againMs * 5);
  }
}

async function agentsRegistered(
  { supervisor, missingAgents, clock }: BootNeeds,
  giveUp: (detail: string) => void,
): Promise<void> {
  const giveUpAfter = async (ms: number, what: () => string) => {
    await clock.sleep(ms, done.signal);
    giveUp(`${what()}; see "aiosctl logs orchestrator"`);
  };
  const done = new AbortController();
  let missing: readonly string[] = [];
  giveUpAfter(waits.phaseMs, () => "the orchestrator is not ready").catch(() => {});
  await supervisor.until("orchestrator", ({ state }) => state === "ready");
  giveUpAfter(waits.agentsMs, () => `not registered: ${missing.join(", ")}`).catch(() => {});
  await retried(clock, async () => {
    missing = await missingAgents();
    return missing.length === 0;
  });
  done.abort();
}

/** The orchestrator is ready when unfinished goals are loaded and resumed; the ledger is asked for. */
async function recovered(
  { supervisor, ledgerProblems, clock }: BootNeeds,
  giveUp: (detail: string) => void,
): Promise<void> {
  const done = new AbortController();
  let unanswered = "goals are not resumed yet: the orchestrator is not ready";
  clock.sleep(waits.phaseMs, done.signal).then(
    () => giveUp(`${unanswered}; see "aiosctl logs orchestrator" and "aiosctl logs tools"`),
    () => {},
  );
  const verified = async () => {
    await supervisor.until("tools", ({ state }) => state === "ready");
    const problems = await retried(clock, ledgerProblems, (error) => {
      unanswered = `the ledger is not verified: ${messageOf(error)}`;
    });
    if (problems.length === 0) return;
    throw new Error(
      `the ledger is not what was written: ${problems[0]}; ` +
        `see all with "aiosctl tools call sec.verify_ledger", and keep a copy of /var/lib/aios/ledger`,
    );
  };
  await Promise.all([verified(), supervisor.until("orchestrator", ({ state }) => state === "ready")]);
  done.abort();
}

/** Asks until there is an answer that is not false. */
async function retried<T>(
  clock: Clock,
  ask: () => Promise<T>,
  failed: (error: unknown) => void = () => {},
): Promise<T> {
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== false) return answer;
    } catch (error) {
      failed(error);
    }
    await clock.sleep(waits.againMs);
  }
}
