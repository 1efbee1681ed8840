import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import { patiently } from "#lib/patience";
import type { Supervisor } from "../units/index.ts";
import type { Phase } from "./phases.ts";

/** The phases' view of the machine once the units run. */
export interface BootNeeds {
  readonly supervisor: Supervisor;
  /** The units that a phase waits for. */
  readonly unitsOf: Readonly<Record<"runtime" | "core", readonly string[]>>;
  /** Why the runtime cannot load its model, or undefined while it still tries. */
  runtimeProblem(): Promise<string | undefined>;
  /** The agents that are configured and not (yet) registered. */
  missingAgents(): Promise<readonly string[]>;
  /** The faults of the ledger; empty when it is whole. */
  ledgerProblems(): Promise<readonly string[]>;
  readonly clock: Clock;
}

export const waits = {
  /** After this many failures in a row the boot goes on without the unit. */
  triesMax: 3,
  /** A phase that has not reached its aim by then is given up; what it waits for may still come. */
  phaseMs: 180_000,
  /** From the orchestrator's readiness. */
  agentsMs: 60_000,
  /** Between two questions. Each is work for a machine that is busy starting. */
  againMs: 200,
  /**
   * Between two questions when the first was answered by an error. After `refusalsMax` errors in a row the boot goes
   * on.
   */
  afterErrorMs: 1_000,
  refusalsMax: 5,
  runtimeAgainMs: 1_000,
} as const;

/** The phases after the first, which makes the ground they stand on; `ground` is what it gives. */
export function bootPhases(ground: Promise<BootNeeds>): readonly Phase[] {
  return [
    {
      name: "runtime",
      run: async (giveUp) => {
        const needs = await ground;
        void watchRuntime(needs, giveUp);
        await awaitUnits(needs, needs.unitsOf.runtime, giveUp);
      },
    },
    {
      name: "core",
      run: async (giveUp) => {
        const needs = await ground;
        await awaitUnits(needs, needs.unitsOf.core, giveUp);
      },
    },
    { name: "agents", run: async (giveUp) => awaitAgents(await ground, giveUp) },
    { name: "recovery", run: async (giveUp) => awaitRecovery(await ground, giveUp) },
  ];
}

/** Every unit ready at least once. */
async function awaitUnits(needs: BootNeeds, names: readonly string[], giveUp: (detail: string) => void): Promise<void> {
  const done = giveUpLate(needs, names, giveUp);
  await Promise.all(names.map((name) => needs.supervisor.until(name, ({ state }) => state === "ready")));
  done();
}

/** Gives up when one of the units has failed too often, or is not ready when the phase's time is over. Gives back its end. */
function giveUpLate(
  { supervisor, clock }: BootNeeds,
  names: readonly string[],
  giveUp: (detail: string) => void,
): () => void {
  const why = (name: string) => giveUp(`${name}: ${supervisor.status(name).reason}; see "aiosctl logs ${name}"`);
  const isReady = (name: string) => supervisor.status(name).state === "ready";
  const ends = supervisor.onChange((name, { failures }) => {
    if (names.includes(name) && failures >= waits.triesMax && !isReady(name)) why(name);
  });
  const late = new AbortController();
  clock.sleep(waits.phaseMs, late.signal).then(
    () =>
      names
        .filter((name) => !isReady(name))
        .slice(0, 1)
        .forEach(why),
    () => {},
  );
  return () => {
    ends();
    late.abort();
  };
}

/** A unit and everything it needs, the deepest first. */
function chain(supervisor: Supervisor, name: string): string[] {
  return [...supervisor.needs(name).flatMap((need) => chain(supervisor, need)), name];
}

/** The runtime stays up without its model, to say why: that is asked while it answers and is not ready. */
async function watchRuntime(needs: BootNeeds, giveUp: (detail: string) => void): Promise<void> {
  const { supervisor, runtimeProblem, clock } = needs;
  const isReady = () => needs.unitsOf.runtime.every((name) => supervisor.status(name).state === "ready");
  const answers = () => needs.unitsOf.runtime.some((name) => supervisor.status(name).answers);
  while (!isReady()) {
    const problem = answers() ? await runtimeProblem().catch(() => undefined) : undefined;
    if (problem !== undefined) return giveUp(problem);
    await clock.sleep(waits.runtimeAgainMs);
  }
}

async function awaitAgents(needs: BootNeeds, giveUp: (detail: string) => void): Promise<void> {
  const { supervisor, missingAgents, clock } = needs;
  await awaitUnits(needs, chain(supervisor, "orchestrator"), giveUp);
  let missing: readonly string[] = [];
  const late = new AbortController();
  clock.sleep(waits.agentsMs, late.signal).then(
    () => giveUp(`not registered: ${missing.join(", ") || "none is known yet"}; see "aiosctl logs orchestrator"`),
    () => {},
  );
  await retried(clock, async () => {
    missing = await missingAgents();
    return missing.length === 0;
  });
  late.abort();
}

/** The orchestrator is ready when unfinished goals are loaded and resumed; the ledger is asked for. */
async function awaitRecovery(needs: BootNeeds, giveUp: (detail: string) => void): Promise<void> {
  const { supervisor, ledgerProblems, clock } = needs;
  const verify = async () => {
    await supervisor.until("tools", ({ state }) => state === "ready");
    const late = new AbortController();
    let reason = "no answer yet";
    const unverified = () => giveUp(`the ledger is not verified: ${reason}; see "aiosctl logs tools"`);
    clock.sleep(waits.phaseMs, late.signal).then(unverified, () => {});
    let failures = 0;
    const problems = await retried(clock, ledgerProblems, (error) => {
      reason = messageOf(error);
      failures += 1;
      if (failures === waits.refusalsMax) unverified();
    });
    late.abort();
    if (problems.length > 0) throw new Error(tamperReason(problems));
  };
  await Promise.all([verify(), awaitUnits(needs, chain(supervisor, "orchestrator"), giveUp)]);
}

function tamperReason(problems: readonly string[]): string {
  const next = 'see all with "aiosctl audit verify", and keep a copy of /var/lib/aios/ledger';
  return `the ledger is not what was written: ${problems[0]}; ${next}`;
}

/** Asks until there is an answer that is not false. */
async function retried<T>(clock: Clock, ask: () => Promise<T>, failed?: (error: unknown) => void): Promise<T> {
  const patience = { firstMs: waits.afterErrorMs, mostMs: waits.afterErrorMs };
  for (;;) {
    const answer = await patiently(patience, { clock, ...(failed && { failed }) }, ask);
    if (answer !== false) return answer;
    await clock.sleep(waits.againMs);
  }
}
