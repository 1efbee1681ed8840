import { OrchestratorService } from "#proto/aios/orchestrator";
import { type Command, type Context, exit, text, wholeNumber } from "../command.ts";
import { moment } from "../words.ts";

const client = (context: Context) => context.target().client(OrchestratorService, "orchestrator");

export const scheduleAdd: Command = {
  name: "schedule add",
  summary: "give a goal again and again",
  usage: "CRON DESCRIPTION [--zone ZONE] [--priority N]",
  args: [2, 2],
  options: {
    zone: { type: "string", short: "z", value: "ZONE", about: "the time zone of CRON, such as Europe/Berlin (UTC)" },
    priority: { type: "string", short: "p", value: "N", about: "0 critical to 3 low (2)" },
  },
  examples: ['aiosctl schedule add "0 3 * * *" "check system health" --zone Europe/Berlin'],
  async run(context) {
    const [cronExpr = "", goalTemplate = ""] = context.args;
    const priority = wholeNumber(context, "priority", 0, 3) ?? 2;
    const timeZone = text(context, "zone") ?? "";
    const { scheduleId } = await client(context).createSchedule({ cronExpr, goalTemplate, priority, timeZone });
    context.out.line(scheduleId);
    context.out.document({ scheduleId });
    return exit.ok;
  },
};

export const scheduleList: Command = {
  name: "schedule list",
  summary: "the goals that are given again and again, and when next",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl schedule list", "aiosctl schedule list --json | jq .schedules[].lastGoal"],
  async run(context) {
    const { schedules } = await client(context).listSchedules({});
    const rows = schedules.map(({ id, cronExpr, timeZone, nextRun, lastRun, goalTemplate, lastGoal }) => [
      ...[id, cronExpr, timeZone, nextRun === 0 ? "never" : moment(nextRun)],
      ...[lastRun === 0 ? "-" : moment(lastRun), goalTemplate, lastGoal || "-"],
    ]);
    context.out.table(["schedule", "cron", "zone", "next (utc)", "last (utc)", "goal", "last goal"], rows);
    context.out.document({ schedules });
    return exit.ok;
  },
};

export const scheduleRemove: Command = {
  name: "schedule remove",
  summary: "give a goal no more",
  usage: "ID",
  args: [1, 1],
  examples: ["aiosctl schedule remove 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11"],
  async run(context) {
    const { success, message } = await client(context).deleteSchedule({ scheduleId: context.args[0] ?? "" });
    context.out.line(message);
    context.out.document({ success, message });
    return success ? exit.ok : exit.failed;
  },
};
