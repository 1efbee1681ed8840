import type { AgentState, Decision, Event, ToolCall } from "../records.ts";
import { type Page, pager, type Store, select, type Table, unknownError, upsert } from "../store/index.ts";

interface ToolCallFilter {
  readonly taskId: string;
  readonly agent: string;
  readonly toolName: string;
  /** Absent = both. */
  readonly success?: boolean | undefined;
  readonly since: number;
  /** 0 = without an end. */
  readonly until: number;
}

interface DecisionFilter {
  readonly intelligenceLevel: string;
  readonly outcome: string;
  readonly since: number;
  readonly until: number;
}

/** Tool calls and decisions, the agents' own states, and the events that must not be forgotten. */
export interface Deeds {
  putToolCall(call: ToolCall): Promise<void>;
  /** Newest first, as all lists here. */
  toolCalls(filter: ToolCallFilter, limit: number, cursor: string): Page<ToolCall>;
  putDecision(decision: Decision): Promise<void>;
  /** Returns the decision as it is then. NOT_FOUND when there is no such decision. */
  setOutcome(id: string, outcome: string): Promise<Decision>;
  decisions(filter: DecisionFilter, limit: number, cursor: string): Page<Decision>;
  putAgentState(state: AgentState): Promise<void>;
  /** NOT_FOUND when the agent has stored none. */
  agentState(agentName: string): AgentState;
  /** By name. */
  agentStates(limit: number, cursor: string): Page<AgentState>;
  putEvent(event: Event): Promise<void>;
  /** At most `count` of the newest events since `fromMs`, oldest first. */
  events(fromMs: number, count: number): Event[];
}

const toolCallTable: Table = {
  name: "tool_calls",
  columns: [
    ...(["id", "task_id", "tool_name", "agent", "input_json", "output_json", "success", "duration_ms"] as const),
    ...["reason", "timestamp"],
  ],
};

export const decisionTable: Table = {
  name: "decisions",
  columns: [
    ...(["id", "context", "options_json", "chosen", "reasoning", "intelligence_level", "model_used"] as const),
    ...["outcome", "timestamp"],
  ],
};

const agentStateTable: Table = { name: "agent_states", columns: ["agent_name", "state_json", "updated_at"] };

const eventTable: Table = { name: "events", columns: ["id", "timestamp", "category", "source", "data_json"] };

export function openDeeds(store: Store): Deeds {
  return { ...openToolCalls(store), ...openDecisions(store), ...openAgentStates(store), ...openEvents(store) };
}

function openToolCalls({ database, write }: Store): Pick<Deeds, "putToolCall" | "toolCalls"> {
  const put = upsert<ToolCall>(database, toolCallTable);
  const page = pager<Omit<ToolCall, "success"> & { success: number }>(database, {
    select: select(toolCallTable),
    order: ["timestamp", "id"],
    descending: true,
  });
  return {
    putToolCall: (call) => write(`tool call ${call.id}`, () => put(call)),
    toolCalls({ taskId, agent, toolName, success, since, until }, limit, cursor) {
      const { rows, nextCursor } = page(
        [
          ["task_id = ?", taskId],
          ["agent = ?", agent],
          ["tool_name = ?", toolName],
          ["success = ?", success === undefined ? undefined : Number(success)],
          ...between(since, until),
        ],
        limit,
        cursor,
      );
      return { rows: rows.map((row) => ({ ...row, success: row.success === 1 })), nextCursor };
    },
  };
}

function openDecisions({ database, write }: Store): Pick<Deeds, "putDecision" | "setOutcome" | "decisions"> {
  const put = upsert<Decision>(database, decisionTable);
  const one = database.prepare<[string], Decision>(`${select(decisionTable)} WHERE id = ?`);
  const outcome = database.prepare("UPDATE decisions SET outcome = ? WHERE id = ?");
  const page = pager<Decision>(database, {
    select: select(decisionTable),
    order: ["timestamp", "id"],
    descending: true,
  });
  return {
    putDecision: (decision) => write(`decision ${decision.id}`, () => put(decision)),
    setOutcome: (id, text) =>
      write(`outcome of decision ${id}`, () => {
        outcome.run(text, id);
        const decision = one.get(id);
        if (decision === undefined) throw unknownError("decision", id);
        return decision;
      }),
    decisions: ({ intelligenceLevel, outcome: wanted, since, until }, limit, cursor) =>
      page(
        [["intelligence_level = ?", intelligenceLevel], ["outcome = ?", wanted], ...between(since, until)],
        limit,
        cursor,
      ),
  };
}

function openAgentStates({ database, write }: Store): Pick<Deeds, "putAgentState" | "agentState" | "agentStates"> {
  const put = upsert<AgentState>(database, agentStateTable);
  const one = database.prepare<[string], AgentState>(`${select(agentStateTable)} WHERE agent_name = ?`);
  const page = pager<AgentState>(database, {
    select: select(agentStateTable),
    order: ["agent_name"],
    descending: false,
  });
  return {
    putAgentState: (state) => write(`state of agent ${state.agentName}`, () => put(state)),
    agentState(agentName) {
      const state = one.get(agentName);
      if (state === undefined) throw unknownError("state of agent", agentName);
      return state;
    },
    agentStates: (limit, cursor) => page([], limit, cursor),
  };
}

function openEvents({ database, write }: Store): Pick<Deeds, "putEvent" | "events"> {
  const put = upsert<Omit<Event, "critical">>(database, eventTable);
  const since = database.prepare<[number, number], Omit<Event, "critical">>(
    `${select(eventTable)} WHERE timestamp >= ? ORDER BY timestamp DESC, rowid DESC LIMIT ?`,
  );
  return {
    putEvent: (event) => write(`event ${event.id}`, () => put(event)),
    events: (from, count) =>
      since
        .all(from, count)
        .reverse()
        .map((event) => ({ ...event, critical: true })),
  };
}

function between(since: number, until: number): [string, number | undefined][] {
  return [
    ["timestamp >= ?", since || undefined],
    ["timestamp < ?", until || undefined],
  ];
}
