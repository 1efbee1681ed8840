import { InitService, type LogLine } from "#proto/aios/init";
import { type Command, exit, wholeNumber } from "../command.ts";

export const logs: Command = {
  name: "logs",
  summary: "what the machine's units log",
  usage: "[UNIT] [--lines N] [--follow]",
  args: [0, 1],
  options: {
    lines: { type: "string", short: "n", value: "N", about: "the last so many (100)" },
    follow: { type: "boolean", short: "f", about: "stay, and show what comes" },
  },
  examples: ["aiosctl logs", "aiosctl logs tools -n 20", "aiosctl logs orchestrator --follow --json"],
  async run(context) {
    const { target, out, args, signal, values } = context;
    const request = {
      unit: args[0] ?? "",
      lines: wholeNumber(context, "lines", 1, 10_000) ?? 0,
      follow: values["follow"] === true,
    };
    for await (const line of target().client(InitService, "init").readLogs(request, { signal })) {
      out.line(readable(line));
      out.document({ ...line, text: undefined, ...(parse(line.text) ?? { text: line.text }) });
    }
    return exit.ok;
  },
};

/** The object that a unit logged, or undefined when it printed something else. */
function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** "09:15:02.123 tools warn refused a call path=/… ". */
function readable({ unit, timestamp, text }: LogLine): string {
  const clock = new Date(timestamp).toISOString().slice(11, 23);
  const object = parse(text);
  if (object === undefined) return `${clock} ${unit} ${text}`;
  const { t: _, level, unit: __, msg, cid: ___, ...fields } = object;
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return [clock, unit, level, msg, ...rest].join(" ");
}
