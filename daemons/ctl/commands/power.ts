import { InitService } from "#proto/aios/init";
import { type Command, type Context, exit, text, UsageError } from "../command.ts";

const options = {
  yes: { type: "boolean", short: "y", about: "really" },
  reason: { type: "string", value: "TEXT", about: "why, for the machine's log" },
} as const;

export const powerOff = power("power off", "turn the machine off, in order", "shutdown");
export const powerRestart = power("power restart", "restart the machine, in order", "reboot");

function power(name: string, summary: string, call: "shutdown" | "reboot"): Command {
  return {
    name,
    summary,
    usage: "--yes [--reason TEXT]",
    args: [0, 0],
    options,
    examples: [`aiosctl ${name} --yes`, `aiosctl --machine lab ${name} --yes --reason "moving it"`],
    async run(context: Context) {
      const machine = context.target();
      if (context.values["yes"] !== true) throw new UsageError(`${name} ${machine.name}: add --yes if that is meant`);
      const answer = await machine.client(InitService, "init")[call]({ reason: text(context, "reason") ?? "" });
      context.out.line(answer.message || "done");
      context.out.document(answer);
      return answer.success ? exit.ok : exit.failed;
    },
  };
}
