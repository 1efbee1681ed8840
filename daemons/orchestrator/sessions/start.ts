/**
 * Plans do not run through the kernel. A task is one call that was decided before: what the goal's record and the
 * ledger say of it is its journal, and a second one would cost each task five durable writes. A session deliberates at
 * each step, and there the journal is what makes it resumable.
 */
import { type Kernel, openKernel } from "#kernel/kernel";
import { defaultLimits } from "#kernel/limits";
import type { ToolExecutionRequest } from "#kernel/ports";
import type { SessionConfig } from "#kernel/state";
import { capabilityText, parseCapability } from "#lib/capability";
import type { Clock } from "#lib/clock";
import { approvalMostMs } from "#lib/config/duration";
import { AiosError } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import type { Client } from "#lib/rpc/service";
import { EventJournalService } from "#proto/aios/journal";
import type { ToolRegistryService } from "#proto/aios/tools";
import type { AgentConfig } from "../agents/index.ts";
import type { Durable } from "../durable.ts";
import { namespaceOf } from "../goal.ts";
import type { Goals } from "../goals/index.ts";
import { type Level, levels, type PlanSource } from "../plan.ts";
import { grantable, type Thinker } from "../plans/index.ts";
import type { ToolFacts, Tools } from "../tools.ts";
import type { AgentHandsParts } from "./agent-hands.ts";
import { goalTools } from "./goal-calls.ts";
import { handsOf } from "./hands.ts";
import { harnessOver, journalOver, modelOver, policyGate } from "./ports/index.ts";
import { rulesBefore } from "./rules.ts";
import { openSessions, roleIn, type Sessions, type Wish } from "./sessions.ts";
import { openWaits } from "./waits.ts";

export interface SessionWorld extends Omit<AgentHandsParts, "waits" | "tools"> {
  readonly goals: Goals;
  readonly tools: Tools;
  readonly configured: readonly AgentConfig[];
  /** All sources of plans; those that need no model are asked. */
  readonly sources: readonly PlanSource[];
  readonly thinkers: readonly Thinker[];
  readonly registry: Client<typeof ToolRegistryService>;
  readonly working: Durable<readonly string[]>;
  readonly clock: Clock;
  readonly log: Log;
  /** Given by who loads this: gRPC is in the orchestrator's bundle already. */
  connectJournal(definition: typeof EventJournalService): Client<typeof EventJournalService>;
  context(about: string, tokensMax: number, signal: AbortSignal): Promise<string>;
  /** Throws when nothing may begin. */
  permit(): void;
}

/** A conversation goes on for days: what ends it is what it spends. */
const budget = {
  tokens_remaining: 1_000_000,
  time_remaining_ms: 30 * 86_400_000,
  cost_remaining_usd: 10,
  tool_calls_remaining: 1_000,
  error_budget_remaining: 200,
};

/** A goal, and a person who is asked, take longer than a tool. */
const callSecondsMax = approvalMostMs / 1_000 + 3_600;
const eventsPerTurnMax = 1_000;

/** Limits of the kernel. What a model is shown of a conversation must fit small ones too. */
const limits = { ...defaultLimits, modelTimeoutMs: 300_000, iterationsMax: 16, turnsMax: 40, turnLengthMax: 6_000 };

const nameLengthMax = 200;

/** Conversations with agents: the kernel over the daemons of this machine. */
export function startSessions(world: SessionWorld): Sessions {
  const { clock, log, tools, configured, sources, thinkers, registry, working, permit } = world;
  const client = world.connectJournal(EventJournalService);
  const journal = journalOver(client);
  const waits = openWaits();
  const agentOf = (name: string): AgentConfig => {
    const found = configured.find((one) => one.name === name);
    if (found !== undefined) return found;
    const names = configured.map((one) => one.name).join(", ");
    throw new AiosError("NOT_FOUND", { act: "speak with", object: `agent ${name}`, reason: `there are ${names}` });
  };
  const toolsOf = async ({ namespaces }: AgentConfig): Promise<readonly ToolFacts[]> =>
    (await tools.list()).filter((tool) => grantable(tool) && namespaces.includes(namespaceOf(tool.name)));

  /** The branch that makes a call. */
  const stateOf = async ({ session_id, call }: ToolExecutionRequest): Promise<State> => {
    for (const branch of await kernel.branches(session_id)) {
      const state = await kernel.state(session_id, branch);
      if (state.run?.call?.call.call_id === call.call_id) return state;
    }
    return await kernel.state(session_id);
  };

  const kernel: Kernel = openKernel({
    ports: {
      journal,
      model: rulesBefore({
        sources: sources.filter(({ level }) => level === "reactive"),
        models: modelOver({
          thinkers,
          context: world.context,
          levelOf: async (session) => levelIn((await kernel.state(session)).config),
          tools: async (session) => ({
            own: goalTools,
            others: await toolsOf(agentOf((await kernel.state(session)).agentId)),
          }),
        }),
      }),
      tools: handsOf(
        { ...world, waits: waits.tell },
        harnessOver(registry, { agent: "orchestrator", task: "", newId: () => uuidv7(clock.now()) }),
        async (request) => talkIn(request.session_id, await stateOf(request)),
        permit,
      ),
      gate: policyGate(),
    },
    ...{ clock, limits, id: () => uuidv7(clock.now()) },
  });

  const create = async (id: string, wish: Wish) => {
    const agent = agentOf(wish.agent || "task");
    const level = checkedLevel(wish.level);
    if (wish.name.length > nameLengthMax)
      throw new AiosError("INVALID_ARGUMENT", `open a session: name: at most ${nameLengthMax} characters`);
    const config: SessionConfig = {
      ...{ agent_id: agent.name, owner: wish.owner, role: wish.role, workspace_root: "/", budget },
      system_prompt: `You are the ${agent.name} agent of this machine. ${agent.role} ${agent.brief}`,
      ...(level !== "" && { level }),
      policy: {
        allow_capabilities: capabilitiesOf([...goalTools, ...(await toolsOf(agent))]),
        // A person is asked by the tools, when the agent makes the call: its grants carry that.
        gate_capabilities: [],
        max_tool_runtime_secs: callSecondsMax,
        max_events_per_turn: eventsPerTurnMax,
      },
    };
    return await kernel.createSession(id, wish.name, config);
  };
  return openSessions({ kernel, journal, listed: client, working, waits, clock, log, create });
}

type State = Awaited<ReturnType<Kernel["state"]>>;

const talkIn = (session: string, { run, config, agentId }: State) => ({
  ...{ session, agent: agentId, words: run?.objective ?? "", owner: config?.owner ?? "core" },
  role: roleIn(config),
});

const levelIn = (config: SessionConfig | undefined): Level => levels.find((one) => one === config?.level) ?? "reactive";

function checkedLevel(level: string): Level | "" {
  if (level === "") return "";
  const found = levels.find((one) => one === level);
  if (found !== undefined && found !== "reactive") return found;
  const known = levels.filter((one) => one !== "reactive").join(", ");
  throw new AiosError("INVALID_ARGUMENT", {
    act: "open a session:",
    object: `level ${level}`,
    reason: `expected ${known}`,
  });
}

/** All that these tools may need, for any object of theirs: which one it is, each call's grant says. */
function capabilitiesOf(tools: readonly ToolFacts[]): string[] {
  const patterns = tools
    .flatMap(({ capabilities }) => capabilities)
    .map(parseCapability)
    .map(({ resource, ...fixed }) => capabilityText(resource === undefined ? fixed : { ...fixed, resource: "**" }));
  return [...new Set(patterns)].sort();
}
