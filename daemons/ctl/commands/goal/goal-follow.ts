import { isAway } from "#lib/patience";
import type { Client } from "#lib/rpc/service";
import type { Task } from "#proto/aios/common";
import { GoalControlService, type GoalView } from "#proto/aios/goal_control";
import { type Context, type Exit, exit } from "../../command.ts";
import { duration } from "../../words.ts";
import { durationOf, isOver, planLine, questionLines, remarkOf, treeLines, words } from "./goal-tree.ts";

/** A machine that does not answer is waited for: it may be starting again, and its goals with it. */
const patienceMs = 120_000;
const retryMs = 1_000;
/** How often the times of running tasks are drawn anew. */
const redrawMs = 500;

type World = Pick<Context, "out" | "clock" | "signal" | "screen">;

/** Shows a goal as it changes. */
interface Show {
  view(view: GoalView): void;
  /** Draws the last view again. */
  tick(): void;
}

/** Follows a goal of the machine that a command speaks to. */
export function followed(id: string, context: Context, answered: boolean): Promise<Exit> {
  return followTree(id, context.target().client(GoalControlService, "orchestrator"), context, answered);
}

/**
 * Shows a goal, its plan and its tasks as they change, until it is over: `ok` when it was reached, `failed` when not.
 * On a terminal one tree that is drawn anew; else a line for each change; in JSON a document for each change.
 * A machine that has `answered` before is waited for when it goes away; else its address may be wrong.
 */
export async function followTree(
  id: string,
  control: Pick<Client<typeof GoalControlService>, "watchGoal">,
  world: World,
  answered: boolean,
): Promise<Exit> {
  const { out, clock, signal } = world;
  const started = clock.monotonic();
  const show = world.screen === undefined || out.json ? lines(world) : tree(world, world.screen);
  let last: GoalView | undefined;
  let away: number | undefined;
  const ticks = ticking(show, world);
  try {
    for (;;) {
      try {
        for await (const view of control.watchGoal({ id }, { signal })) {
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
      if (last !== undefined && isOver(last.goal?.status)) return showEnd(last, clock.monotonic() - started, world);
      await clock.sleep(retryMs, signal);
    }
  } finally {
    ticks.stop();
  }
}

function showEnd({ goal, result }: GoalView, tookMs: number, { out }: World): Exit {
  const status = words(goal?.status ?? "");
  out.line(`${status} after ${duration(tookMs)}${result === "" ? "" : `: ${result}`}`);
  return goal?.status === "completed" ? exit.ok : exit.failed;
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

/** Says a line of its kind unless it was the last one of that kind. */
type Once = (kind: string, line: string) => void;

function onceTo(out: World["out"]): Once {
  const said = new Map<string, string>();
  return (kind, line) => {
    if (line === "" || said.get(kind) === line) return;
    said.set(kind, line);
    out.line(line);
  };
}

/** Says of a goal's views what its plan is, and what its tasks have come to. */
export function planTeller(out: World["out"], once = onceTo(out)): (view: GoalView) => void {
  return (view) => {
    once("plan", planLine(view));
    for (const task of view.tasks) if (task.status !== "pending") once(task.id, taskLine(task));
  };
}

/** The changes since the last view, in a line each; in JSON the whole view. */
function lines({ out }: World): Show {
  const once = onceTo(out);
  const tellPlan = planTeller(out, once);
  return {
    view(view) {
      out.document(view);
      const { goal } = view;
      once("goal", `goal ${goal?.id}: ${goal?.description}`);
      tellPlan(view);
      if (goal !== undefined && !isOver(goal.status)) once("state", words(goal.status));
      for (const [at, line] of questionLines(view).entries()) once(`question ${at}`, line);
    },
    tick() {},
  };
}

function taskLine(task: Task): string {
  const took = task.status === "in_progress" ? "" : durationOf(task, 0);
  const who = [task.assignedAgent, task.requiredTools.join(" ")].filter((word) => word !== "").join(" ");
  const time = took === "" ? "" : ` (${took})`;
  const remark = remarkOf(task);
  return `  ${who}: ${task.description}: ${words(task.status)}${time}${remark === "" ? "" : `: ${remark}`}`;
}

/** One picture of it all, drawn over the one before. */
function tree({ clock }: World, screen: NonNullable<Context["screen"]>): Show {
  const begun = new Map<string, number>();
  let last: GoalView | undefined;
  const draw = () => {
    if (last === undefined || isOver(last.goal?.status)) return;
    screen.draw(treeLines(last, ({ id }) => clock.monotonic() - (begun.get(id) ?? clock.monotonic())));
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
    tick: draw,
  };
}
