import { cut } from "#lib/text";
import type { Goal } from "#proto/aios/common";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { type Command, type Context, exit, text, UsageError, wholeNumber } from "../../command.ts";
import { fromBytes } from "../../out.ts";
import { moment } from "../../words.ts";
import { optionsOf } from "../tools.ts";
import { followed } from "./goal-follow.ts";

const priorities = ["critical", "high", "normal", "low"];
const client = (context: Context) => context.target().client(OrchestratorService, "orchestrator");

export const goalSubmit: Command = {
  name: "goal submit",
  summary: "give the machine a goal",
  usage: "DESCRIPTION [--priority LEVEL] [--tag TAG]... [--after GOAL]... [--follow]",
  args: [1, 1],
  options: {
    priority: { type: "string", short: "p", value: "LEVEL", about: `${priorities.join(", ")} (normal unless given)` },
    tag: { type: "string", value: "TAG", multiple: true, about: "a word to find it by; may be given again" },
    after: {
      type: "string",
      value: "GOAL",
      multiple: true,
      about: "begin when this goal is completed; may be given again",
    },
    follow: {
      type: "boolean",
      short: "f",
      about: "show its plan as a tree until it is over; the exit status tells the end",
    },
  },
  examples: [
    'aiosctl goal submit "report disk usage to /var/lib/aios/reports/disk.txt" --follow',
    'aiosctl goal submit "check system health" --priority high --json',
  ],
  async run(context) {
    const [description = ""] = context.args;
    const priority = priorities.indexOf(text(context, "priority") ?? "normal");
    if (priority < 0) throw new UsageError(`--priority: expected one of ${priorities.join(", ")}`);
    const tags = several(context, "tag");
    const request = {
      description,
      priority,
      source: "",
      tags,
      metadataJson: Buffer.alloc(0),
      dependsOn: several(context, "after"),
      dedupeKey: "",
    };
    const { id } = await client(context).submitGoal(request);
    if (context.values["follow"] === true) return await followed(id, context, true);
    context.out.line(id);
    context.out.document({ id });
    return exit.ok;
  },
};

export const goalFollow: Command = {
  name: "goal follow",
  summary: "show a goal's plan as a tree, live, until it is over, also across a restart of the machine",
  usage: "ID",
  args: [1, 1],
  examples: [
    "aiosctl goal follow 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11",
    "aiosctl goal follow ID --json | jq .progressPercent",
  ],
  run: (context) => followed(context.args[0] ?? "", context, false),
};

export const goalShow: Command = {
  name: "goal show",
  summary: "a goal, its tasks and what came of them",
  usage: "ID",
  args: [1, 1],
  examples: ["aiosctl goal show 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 --json | jq '.tasks[].outputJson'"],
  async run(context) {
    const { out } = context;
    const status = await client(context).getGoalStatus({ id: context.args[0] ?? "" });
    for (const line of goalLines(status.goal)) out.line(line);
    const rows = status.tasks.map((task) => [
      task.description,
      task.assignedAgent || "-",
      task.status,
      task.requiredTools.join(" ") || "-",
      task.error || shortened(fromBytes(task.outputJson)),
    ]);
    if (rows.length > 0) {
      out.line();
      out.table(["task", "agent", "status", "tools", "outcome"], rows);
    }
    out.document(status);
    return exit.ok;
  },
};

export const goalList: Command = {
  name: "goal list",
  summary: "goals, newest first",
  usage: "[--status STATUS] [--limit N] [--offset N] [--cursor CURSOR]",
  args: [0, 0],
  options: {
    status: {
      type: "string",
      value: "STATUS",
      about: "only those: pending, planning, awaiting_input, in_progress, paused, completed, failed, cancelled",
    },
    limit: { type: "string", short: "n", value: "N", about: "so many (20)" },
    offset: { type: "string", value: "N", about: "after so many" },
    cursor: { type: "string", value: "CURSOR", about: "the page after the one that gave this (nextCursor in JSON)" },
  },
  examples: ["aiosctl goal list", "aiosctl goal list --status failed -n 5 --json"],
  async run(context) {
    const { out } = context;
    const page = await client(context).listGoals({
      statusFilter: text(context, "status") ?? "",
      limit: wholeNumber(context, "limit", 1, 500) ?? 20,
      offset: wholeNumber(context, "offset", 0, 1_000_000) ?? 0,
      cursor: text(context, "cursor") ?? "",
    });
    const rows = page.goals.map((goal) => [goal.id, moment(goal.createdAt), goal.status, goal.description]);
    out.table(["goal", "given (utc)", "status", "description"], rows);
    if (page.total > page.goals.length) out.note(`${page.goals.length} of ${page.total}`);
    out.document(page);
    return exit.ok;
  },
};

export const goalCancel: Command = {
  name: "goal cancel",
  summary: "end a goal before it is reached",
  usage: "ID [--rollback]",
  args: [1, 1],
  options: {
    rollback: { type: "boolean", about: "take back what it did, as far as that can be; else it is only told how" },
  },
  examples: ["aiosctl goal cancel 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11 --rollback"],
  async run(context) {
    const {
      success,
      message,
      executionIds: executions,
    } = await client(context).cancelGoal({
      id: context.args[0] ?? "",
    });
    context.out.line(message || (success ? "cancelled" : "not cancelled"));
    const wanted = success && context.values["rollback"] === true && executions.length > 0;
    const rolledBack = wanted ? await takeBack(context, executions) : undefined;
    context.out.document({ success, message, executions, ...(rolledBack && { rolledBack }) });
    return success && rolledBack?.success !== false ? exit.ok : exit.failed;
  },
};

/** Taking back an installation takes as long as making it. */
const rollbackTimeoutMs = 660_000;

async function takeBack(context: Context, executions: readonly string[]) {
  const tools = context.target().client(ToolRegistryService, "tools");
  const request = { executionId: executions.join(","), reason: "its goal was cancelled with --rollback" };
  const { success, error } = await tools.rollback(request, optionsOf(context, rollbackTimeoutMs));
  context.out.line(success ? "rolled back" : `not all of it: ${error}`);
  return { success, error };
}

/** The values of an option that may be given again. */
function several(context: Context, option: string): string[] {
  const given = context.values[option];
  return Array.isArray(given) ? given.map(String) : [];
}

/** The most of an outcome that is shown in a table, characters. */
const outcomeLength = 80;

function shortened(value: unknown): string {
  const line = value === null ? "-" : typeof value === "string" ? value : JSON.stringify(value);
  return cut(line, outcomeLength);
}

function goalLines(goal: Goal | undefined): string[] {
  if (goal === undefined) return [];
  return [
    goal.description,
    `  ${goal.id}, ${priorities[goal.priority] ?? goal.priority} priority, from ${goal.source || "unknown"}`,
    `  given ${moment(goal.createdAt)} UTC, ${goal.status}${goal.result ? `: ${goal.result}` : ""}`,
  ];
}
