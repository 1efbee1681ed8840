import type { Command, Option } from "./command.ts";
import { columns } from "./out.ts";

/** The options in a usage line: the overview shows what must be given. */
const optionPattern = /\[--[^\]]*\](\.\.\.)?/g;

type Options = Readonly<Record<string, Option>>;

/** Every command, or those of one group, one line each. */
export function overview(commands: readonly Command[], options: Options, group: string | undefined): string {
  const of = commands.filter(({ name }) => name.split(" ")[0] === group);
  const shown = of.length > 0 ? of : commands;
  const rows = shown.map(({ name, usage, summary }) => [
    `  ${name} ${usage.replace(optionPattern, "").trim()}`,
    summary,
  ]);
  return [
    ...(group !== undefined && of.length === 0 ? [`aiosctl: there is no command "${group}"`, ""] : []),
    "aiosctl: gives an aiOS machine its goals and shows what it does",
    "",
    ...columns(["commands", ""], rows),
    "",
    ...optionLines(options),
    "",
    "aiosctl COMMAND --help shows its options and examples. Exit status: 0 done, 1 failed, 2 wrong use, 3 not reached or refused.",
    "",
  ].join("\n");
}

/** One command in full. */
export function helpOf(command: Command, globalOptions: Options): string {
  return [
    `aiosctl ${command.name} ${command.usage}`.trimEnd(),
    "",
    `  ${command.summary}`,
    "",
    ...optionLines({ ...command.options, ...globalOptions }),
    "",
    "EXAMPLES",
    ...command.examples.map((example) => `  ${example}`),
    "",
  ].join("\n");
}

function optionLines(options: Options): string[] {
  const rows = Object.entries(options).map(([name, { short, value, about }]) => [
    `  ${short ? `-${short}, ` : ""}--${name}${value ? ` ${value}` : ""}`,
    about,
  ]);
  return columns(["options", ""], rows);
}
