import { AiosError } from "#lib/errors";
import type { Client } from "#lib/service";
import type { Task } from "#proto/aios/common";
import { GoalControlService, type GoalView } from "#proto/aios/goal_control";
import { type Context, type Exit, exit } from "../command.ts";
import { duration, moment } from "../words.ts";
import { type Ticket, ticketsOf } from "./approvals.ts";
import { durationOf, isOver, planLine, questionLines, treeLines, words } from "./goal-tree.ts";

/** A machine that does not answer is waited for: it may be starting again, and its goals with it. */
const patienceMs = 120_000;
const retryMs = 1_000;
/** How often the times of running tasks are drawn anew. */
const redrawMs = 500;

/** How often it is asked whether calls of a goal wait for the person. */
const askMs = 1_000;

type World = Pick<Context, "out" | "clock" | "signal" | "screen">;

/** What is followed: the goal's views, and the calls of agents that wait for a person. */
interface Sources extends Pick<Client<typeof GoalControlService>, "watchGoal"> {
  tickets(): Promise<readonly Ticket[]>;
}

/** Shows a goal as it changes. */
interface Show {
  view(view: GoalView): void;
  /** What waits for the person, in lines. */
  waiting(lines: readonly string[]): void;
  /** Draws the last view again. */
  tick(): void;
}

/** Follows a goal of the machine that a command speaks to. */
export function followed(id: string, context: Context, answered: boolean): Promise<Exit> {
  const control = context.target().client(GoalControlService, "orchestrator");
  const sources = { watchGoal: control.watchGoal, tickets: () => ticketsOf(context) };
  return followTree(id, sources, context, answered);
}

/**
 * Shows a goal, its plan and its tasks as they change, until it is over: `ok` when it was reached, `failed` when not.
 * On a terminal one tree that is drawn anew; else a line for each change; in JSON a document for each change.
 * A machine that has `answered` before is waited for when it goes away; else its address may be wrong.
 */
export async function followTree(id: string, sources: Sources, world: World, answered: boolean): Promise<Exit> {
  const { out, clock, signal } = world;
  const started = clock.monotonic();
  const show = world.screen === undefined || out.json ? lines(world) : tree(world, world.screen);
  let last: GoalView | undefined;
  let away: number | undefined;
  const ticks = ticking(show, world);
  const asking = askingFor(sources, () => last, show, world);
  try {
    for (;;) {
      try {
        for await (const view of sources.watchGoal({ id }, { signal })) {
          [last, away] = [view, undefined];
          show.view(view);
        }
        signal.throwIfAborted();
      } catch (error) {
        if (signal.aborted || !isAway(error) || (last === undefined && !answered)) throw error;
        if (away === undefined) out.note("the machine does not answer; waiting for it");
        away ??= clock.monotonic();
        if (clock.monotonic() - away > patienceMs) throw error;
      }
      if (last !== undefined && isOver(last.goal?.status)) return ended(last, clock.monotonic() - started, world);
      await clock.sleep(retryMs, signal);
    }
  } finally {
    ticks.stop();
    asking.stop();
  }
}

function ended({ goal, result }: GoalView, tookMs: number, { out }: World): Exit {
  const status = words(goal?.status ?? "");
  out.line(`${status} after ${duration(tookMs)}${result === "" ? "" : `: ${result}`}`);
  return goal?.status === "completed" ? exit.ok : exit.failed;
}

function isAway(error: unknown): boolean {
  return error instanceof AiosError && (error.code === "UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED");
}

function ticking(show: Show, { clock, screen }: World): { stop(): void } {
  const stop = new AbortController();
  const tick = async () => {
    while (screen !== undefined && !stop.signal.aborted) {
      await clock.sleep(redrawMs, stop.signal);
      show.tick();
    }
  };
  tick().catch(() => {}); // the sleep that is ended
  return { stop: () => stop.abort() };
}

/** Looks from time to time whether what runs waits for the person. Who may not see that follows the goal without it. */
function askingFor(
  { tickets }: Sources,
  last: () => GoalView | undefined,
  show: Show,
  { clock }: World,
): { stop(): void } {
  const stop = new AbortController();
  const ask = async () => {
    while (!stop.signal.aborted) {
      await clock.sleep(askMs, stop.signal);
      const running = new Set(last()?.tasks.flatMap(({ id, status }) => (status === "in_progress" ? [id] : [])));
      const waiting = running.size === 0 ? [] : await tickets().catch(() => []);
      if (!stop.signal.aborted)
        show.waiting(waiting.filter(({ task_id }) => running.has(task_id)).flatMap(ticketLines));
    }
  };
  ask().catch(() => {}); // the sleep that is ended
  return { stop: () => stop.abort() };
}

function ticketLines({ id, agent_id, tool, risk, expires_at }: Ticket): string[] {
  return [
    `  waits for you until ${moment(expires_at)} UTC: ${tool} by ${agent_id}, ${risk} risk`,
    `    look: aiosctl approvals show ${id}   decide: aiosctl approvals approve ${id}   or deny`,
  ];
}

/** What changed since the last view, in a line each; in JSON the whole view. */
function lines({ out }: World): Show {
  const said = new Map<string, string>();
  const once = (key: string, line: string) => {
    if (line === "" || said.get(key) === line) return;
    said.set(key, line);
    out.line(line);
  };
  return {
    view(view) {
      out.document(view);
      const { goal, tasks } = view;
      once("goal", `goal ${goal?.id}: ${goal?.description}`);
      once("plan", planLine(view));
      for (const task of tasks) if (task.status !== "pending") once(task.id, taskLine(task));
      if (goal !== undefined && !isOver(goal.status)) once("state", words(goal.status));
      for (const [at, line] of questionLines(view).entries()) once(`question ${at}`, line);
    },
    waiting: (asked) => {
      for (const line of asked) once(line, line);
    },
    tick() {},
  };
}

function taskLine(task: Task): string {
  const took = task.status === "in_progress" ? "" : durationOf(task, 0);
  const who = [task.assignedAgent, task.requiredTools.join(" ")].filter((word) => word !== "").join(" ");
  const time = took === "" ? "" : ` (${took})`;
  return `  ${who}: ${task.description}: ${words(task.status)}${time}${task.error === "" ? "" : `: ${task.error}`}`;
}

/** One picture of it all, drawn over the one before. */
function tree({ clock }: World, screen: NonNullable<Context["screen"]>): Show {
  const begun = new Map<string, number>();
  let last: GoalView | undefined;
  let asked: readonly string[] = [];
  const draw = () => {
    if (last === undefined || isOver(last.goal?.status)) return;
    const lines = treeLines(last, ({ id }) => clock.monotonic() - (begun.get(id) ?? clock.monotonic()));
    screen.draw([...lines, ...asked]);
  };
  return {
    view(view) {
      last = view;
      // The machine's clock may be another than ours: a task runs since we saw it begin.
      for (const { id, status } of view.tasks) {
        if (status === "in_progress" && !begun.has(id)) begun.set(id, clock.monotonic());
      }
      if (isOver(view.goal?.status)) screen.draw(treeLines({ ...view, result: "" }, () => 0));
      else draw();
    },
    waiting: (lines) => {
      asked = lines;
      draw();
    },
    tick: draw,
  };
}
