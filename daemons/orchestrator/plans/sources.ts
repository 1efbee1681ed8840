import type { Clock } from "#lib/clock";
import type { AgentConfig, Agents } from "../agents/index.ts";
import type { PlanSource } from "../plan.ts";
import type { Tools } from "../tools.ts";
import { type Learning, learnedSource } from "./learned/index.ts";
import { allowances, type Means, modelSource, type Thinker } from "./model-source.ts";
import { type Declared, procedureSource } from "./procedures/index.ts";

interface SourceWorld {
  readonly declared: () => Declared;
  readonly learning: Learning;
  readonly tools: Tools;
  readonly agents: Agents;
  readonly configured: readonly AgentConfig[];
  readonly context: Means["context"];
  /** The models that can be asked, the cheapest first. */
  readonly thinkers: readonly Thinker[];
  readonly clock: Clock;
}

/**
 * The sources of plans, in the order in which they are asked: procedures that have proven themselves here, those of the
 * image, then models.
 */
export function planSources(world: SourceWorld): readonly PlanSource[] {
  const { declared, learning, tools, agents, configured, context, thinkers, clock } = world;
  const means: Means = {
    tools: () => tools.list(),
    agents: () => configured.map(({ name, role }) => ({ name, role })),
    covers: (namespace) => agents.covers({ namespace, agent: "", priority: 0 }),
    context,
  };
  return [
    learnedSource(learning, declared),
    procedureSource(declared),
    ...thinkers.flatMap((thinker) =>
      thinker.level === "reactive" ? [] : [modelSource(thinker, means, allowances[thinker.level], clock)],
    ),
  ];
}
