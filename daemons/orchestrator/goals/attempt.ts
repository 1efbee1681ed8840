import { backoffMs } from "#lib/backoff";
import { messageOf } from "#lib/errors";
import { allows } from "#lib/identity/role";
import type { Ending, Place } from "../agents/index.ts";
import { executionIds, type Goal, isOver, namespaceOf, saidIn, type Task } from "../goal.ts";
import { capabilityFor } from "../grants.ts";
import type { JsonObject } from "../json.ts";
import { patiently } from "../patience.ts";
import { sendsOut, strangePlaces } from "../plans/index.ts";
import { fillObject } from "../template.ts";
import type { Asking, ToolFacts } from "../tools.ts";
import { changeTask } from "./changes.ts";
import { type Loan, openLoan } from "./lend.ts";
import { failTask, jsonSizeMaxBytes, noteWait, recordReport, retryLost, sizeOf, valuesFor } from "./outcome.ts";
import type { Signals, World } from "./world.ts";

const retryFirstMs = 200;
const retryMostMs = 5_000;

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
    await assign({ goal, task, tool, ...call, place, agent: place.agent }, world, signals, later);
  } finally {
    place.release();
  }
}

/** The input of the call and the capabilities that it needs, or why they cannot be said. */
function prepareCall(goal: Goal, task: Task, tool: ToolFacts): Pick<Attempt, "input" | "capabilities"> | string {
  try {
    // What waits for a person is what was shown.
    const input = task.waitsFor !== "" && task.input ? task.input : fillObject(task.template, valuesFor(goal));
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
  const need = {
    namespace: namespaceOf(task.tool),
    agent: task.waitsFor === "" ? task.wantedAgent : task.agent,
    priority: goal.priority,
  };
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
  readonly place: Place;
  readonly agent: string;
}

/** One try at one agent, from its grant to the end of the grant. */
async function assign(attempt: Attempt, world: World, { waiting, running }: Signals, later: Later): Promise<void> {
  const { goal, task, tool, input, agent } = attempt;
  // What was asked of a person is the same try still.
  const tries = task.waitsFor === "" ? task.tries + 1 : task.tries;
  const begun = { state: "assigned", agent, input, tries, startedAt: world.clock.now(), progress: undefined } as const;
  // Before the agent hears of it: after a crash the store says which tasks may have run, and under which id.
  await changeTask(task, begun, world, waiting);
  const lent = openLoan(loanOf(attempt, world), world);
  let ending: Ending;
  try {
    ending = await lent.carryOut(running);
  } catch (error) {
    if (running.aborted) throw error;
    return await failTask(task, `it cannot be given to agent ${agent}: ${messageOf(error)}`, world);
  } finally {
    const ended = lent.takeBack();
    // One that is not over may be tried again, and must not begin until its grants are gone.
    if (isOver(task.state)) later(ended);
    else await ended;
  }
  if (ending.kind === "lost") await retryLost(goal, task, tool, ending.reason, world);
}

/**
 * By a goal an agent gets no further than by itself: a person is asked about all that is not among what it may have. So it is
 * about what leaves the machine, and about places that a plan changes which is not the image's and that nobody has named. A
 * person gets no further either: who is no admin makes nobody root by agents.
 */
function askingOf({ goal, task, tool, input, capabilities }: Attempt, { agents, mayName }: World): Asking {
  const [, giver] = /^agent:(.+)$/.exec(goal.source) ?? [];
  if (giver !== undefined && !capabilities.every((one) => agents.mayHave(giver, one))) return "everything";
  const { declared = false } = goal.plan;
  const strange = declared ? [] : strangePlaces({ tool: tool.name, input }, tool, mayName, saidIn(goal));
  if (strange.length > 0 || sendsOut(goal, task)) return "changes";
  return goal.role === "" || allows(goal.role, "admin") ? "nothing" : "root";
}

function loanOf(attempt: Attempt, world: World): Loan {
  const { goal, task, tool, input, capabilities, agent, place } = attempt;
  const { id: taskId, goalId, dependsOn, createdAt } = task;
  // A person who is asked sees whose wish it is.
  const description = goal.source.startsWith("agent:") ? `${task.description} (for ${goal.source})` : task.description;
  const executionId = executionIds(task).at(-1) ?? "";
  // What is stored of a task is stored in the order in which it came to be.
  let noted = Promise.resolve();
  return {
    ...{ agent, capabilities, timeoutMs: tool.timeoutMs, ask: askingOf(attempt, world) },
    handout: { taskId, goalId, description, tool: tool.name, input, executionId, dependsOn, createdAt },
    taken() {
      task.state = "in_progress";
      world.changes.tell(goal);
    },
    async record(report) {
      await noted;
      return await recordReport(goal, task, tool, report, world);
    },
    // A person takes longer than a tool: meanwhile its place is for others.
    waits(waitsFor) {
      place.release();
      noted = noteWait(goal, task, waitsFor, world);
    },
  };
}
