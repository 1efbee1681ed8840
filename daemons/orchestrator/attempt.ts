import { backoffMs } from "#lib/backoff";
import { messageOf } from "#lib/errors";
import type { Place } from "./agents.ts";
import { type Ending, personMs } from "./assignments.ts";
import { type Goal, isOver, type JsonObject, namespaceOf, type Task } from "./goal.ts";
import { capabilityFor } from "./grants.ts";
import type { Signals } from "./life.ts";
import { changeTask, failTask, jsonSizeMaxBytes, recordReport, retryLost, sizeOf, valuesFor } from "./outcome.ts";
import { patiently } from "./patience.ts";
import { fillObject } from "./template.ts";
import type { ToolFacts } from "./tools.ts";
import type { World } from "./world.ts";

const retryFirstMs = 200;
const retryMostMs = 5_000;

/** Beyond its tool's own time a task has so long to be fetched and reported. */
const handoverMs = 15_000;

/** A grant outlives its task's deadline by so much, in case nobody is left to revoke it. */
const grantGraceMs = 60_000;

/**
 * Runs a task until it is completed or has failed for good; throws the signal's reason when it was stopped.
 * `later` is told what is then still being done: the end of its grants, for which the tasks that need it do not wait.
 */
export async function runTask(goal: Goal, task: Task, world: World, signals: Signals, later: Later): Promise<void> {
  while (task.state === "pending") {
    const tries = task.failures.length;
    if (tries > 0) await world.clock.sleep(backoffMs(tries, retryFirstMs, retryMostMs, world.random), signals.waiting);
    await attempt(goal, task, world, signals, later);
  }
}

type Later = (work: Promise<void>) => void;

async function attempt(goal: Goal, task: Task, world: World, signals: Signals, later: Later): Promise<void> {
  const tool = await patiently(world.clock, signals.waiting, () => world.tools.find(task.tool));
  if (tool === undefined) return await failTask(task, `there is no tool ${task.tool} on this machine`, world);
  const call = prepareCall(goal, task, tool);
  if (typeof call === "string") return await failTask(task, call, world);
  const place = await findPlace(goal, task, world, signals.waiting);
  if (typeof place === "string") return await failTask(task, place, world);
  try {
    await assign({ goal, task, tool, ...call, agent: place.agent }, world, signals, later);
  } finally {
    place.release();
  }
}

/** What the tool is called with and what that needs, or why it cannot be said. */
function prepareCall(goal: Goal, task: Task, tool: ToolFacts): Pick<Attempt, "input" | "capabilities"> | string {
  try {
    const input = fillObject(task.template, valuesFor(goal));
    const size = sizeOf(input);
    if (size > jsonSizeMaxBytes) return `its input would be ${size} bytes, a task may take ${jsonSizeMaxBytes}`;
    const needed = [...tool.capabilities, ...task.also];
    return { input, capabilities: needed.map((template) => capabilityFor(template, input)) };
  } catch (error) {
    return messageOf(error);
  }
}

/** A place at an agent, or why there is none. */
async function findPlace(goal: Goal, task: Task, { agents }: World, waiting: AbortSignal): Promise<Place | string> {
  const need = { namespace: namespaceOf(task.tool), agent: task.wantedAgent, priority: goal.priority };
  if (!agents.covers(need)) return `no agent of this machine covers ${task.tool}; see /etc/aios/agents`;
  try {
    return await agents.place(need, waiting);
  } catch (error) {
    waiting.throwIfAborted();
    return messageOf(error);
  }
}

interface Attempt {
  readonly goal: Goal;
  readonly task: Task;
  readonly tool: ToolFacts;
  readonly input: JsonObject;
  readonly capabilities: readonly string[];
  readonly agent: string;
}

/** One try at one agent, from its grant to the end of the grant. */
async function assign(attempt: Attempt, world: World, { waiting, running }: Signals, later: Later): Promise<void> {
  const { task, tool, input, agent } = attempt;
  const { store, clock } = world;
  // Before the agent hears of it: after a crash the store says which tasks may have run.
  await changeTask(task, { state: "assigned", agent, input, startedAt: clock.now(), progress: undefined }, (whole) =>
    patiently(clock, waiting, () => store.putTask(whole)),
  );
  let ending: Ending;
  try {
    ending = await handOver(attempt, world, running);
  } catch (error) {
    if (running.aborted) throw error;
    return await failTask(task, `it cannot be given to agent ${agent}: ${messageOf(error)}`, world);
  } finally {
    const ended = takeBackGrants(attempt, world);
    // One that is not over may be tried again, and must not begin until its grants are gone.
    if (isOver(task.state)) later(ended);
    else await ended;
  }
  if (ending.kind === "lost") await retryLost(task, tool, ending.reason, world);
}

async function handOver({ goal, task, tool, input, capabilities, agent }: Attempt, world: World, running: AbortSignal) {
  const { tools, clock, assignments, changes } = world;
  const timeoutMs = tool.timeoutMs + handoverMs;
  await patiently(clock, running, () => tools.grant(agent, capabilities, task.id, timeoutMs + grantGraceMs));
  const { id, goalId, description, dependsOn, createdAt } = task;
  const assignment = {
    agent,
    handout: { taskId: id, goalId, description, tool: tool.name, input, dependsOn, createdAt },
    taken: () => {
      task.state = "in_progress";
      changes.tell(goal);
    },
    record: (report: Parameters<typeof recordReport>[3]) => recordReport(goal, task, tool, report, world),
    // A person takes longer than a tool, and what is let through needs its grants still.
    waits: (waitsFor: string) => {
      task.progress = { share: 0, message: "", waitsFor };
      changes.tell(goal);
      tools
        .grant(agent, capabilities, task.id, personMs + grantGraceMs)
        .catch((error) => world.log.warn("a grant was not prolonged", { task: task.id, reason: messageOf(error) }));
    },
  };
  return await assignments.give(assignment, timeoutMs, running);
}

/** Ends a task's grants. When that cannot be done for as long as they last, they have ended by themselves. */
async function takeBackGrants({ task, tool, agent }: Attempt, { tools, clock, log }: World): Promise<void> {
  const lastMs = tool.timeoutMs + handoverMs + grantGraceMs;
  await patiently(clock, AbortSignal.timeout(lastMs), () => tools.revoke(agent, task.id)).catch((error) =>
    log.error("a grant was not taken back; it ends by its time", { agent, task: task.id, error }),
  );
}
