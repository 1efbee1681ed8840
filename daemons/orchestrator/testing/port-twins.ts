/** The orchestrator's ports, kept in this process: for tests of what is on this side of them. */
import { AiosError } from "#lib/errors";
import type { Fate } from "../calls.ts";
import { type Goal, isOver, type Task } from "../goal.ts";
import type { Store } from "../goals/store.ts";
import type { Asking, ToolFacts, Tools } from "../tools.ts";

export interface PortTwins {
  /** The stored goals. */
  readonly goals: Map<string, Goal>;
  /** The grants that agents hold: `agent task` → capabilities. */
  readonly granted: Map<string, readonly string[]>;
  /** The calls that a person is asked about, by grant, the first first. */
  readonly asks: Asking[];
  /** The calls that were withdrawn, by their ids. */
  readonly withdrawn: string[];
  /** The fates of the calls that are withdrawn next; they have never begun when there is no more. */
  fates: Fate[];
  /** Nothing can be stored at present. */
  away: boolean;
  /** The goal whose tasks cannot be read. */
  unreadable: string;
  /** No grant is taken back before this resolves. */
  revokes: Promise<void>;
  readonly store: Store;
  readonly tools: Tools;
}

const fact = (name: string, capabilities: readonly string[]): ToolFacts => ({
  ...{ name, capabilities, summary: `Does ${name}.`, input: {}, outputs: [], idempotent: true, timeoutMs: 1_000 },
});

/** A tool that only these twins have. */
export const twinTool = "fs.say";

const facts: Record<string, ToolFacts> = {
  [twinTool]: fact(twinTool, ["fs:say:{what}"]),
  "fs.shout": fact("fs.shout", []),
  "web.http_request": fact("web.http_request", ["web:request:{url}"]),
  "fs.once": { ...fact("fs.once", []), idempotent: false },
};

export function portTwins(): PortTwins {
  const goals: PortTwins["goals"] = new Map();
  const granted: PortTwins["granted"] = new Map();
  const withdrawn: string[] = [];
  const asks: PortTwins["asks"] = [];
  const refuseWhenAway = () => {
    if (ports.away) throw new AiosError("UNAVAILABLE", "memory is away");
  };

  const store: Store = {
    async putGoal(goal) {
      refuseWhenAway();
      goals.set(goal.id, { ...goal, tasks: goals.get(goal.id)?.tasks ?? [] });
    },
    async putTask(task) {
      refuseWhenAway();
      const goal = goals.get(task.goalId);
      if (goal)
        goal.tasks = [...goal.tasks.filter(({ id }) => id !== task.id), { ...task }].toSorted(
          (a, b) => a.index - b.index,
        );
    },
    unfinished: async () => [...goals.values()].filter(({ state }) => !isOver(state)).map((goal) => ({ ...goal })),
    tasks: async (goalId): Promise<Task[]> => {
      if (goalId === ports.unreadable) throw new AiosError("OUT_OF_RANGE", "too large");
      return (goals.get(goalId)?.tasks ?? []).map((task) => ({ ...task }));
    },
    find: async (id) => structuredClone(goals.get(id)),
    list: async () => ({ goals: [...goals.values()], total: goals.size, nextCursor: "" }),
  };

  const tools: Tools = {
    find: async (name) => facts[name],
    async grant({ agent, capabilities, taskId, ask }) {
      granted.set(`${agent} ${taskId}`, capabilities);
      asks.push(ask);
    },
    async revoke(_, agent, taskId) {
      await ports.revokes;
      granted.delete(`${agent} ${taskId}`);
    },
    revokeAll: async (_, agent) => {
      for (const key of granted.keys()) if (key.startsWith(`${agent} `)) granted.delete(key);
    },
    async withdraw({ id }) {
      withdrawn.push(id);
      return ports.fates.shift() ?? { kind: "never" };
    },
    list: async () => Object.values(facts),
    executions: async () => [],
  };

  const ports: PortTwins = {
    ...{
      goals,
      granted,
      withdrawn,
      asks,
      fates: [],
      away: false,
      unreadable: "",
      revokes: Promise.resolve(),
      store,
      tools,
    },
  };
  return ports;
}
