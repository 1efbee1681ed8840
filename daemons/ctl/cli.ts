import { parseArgs } from "node:util";
import type { Clock } from "#lib/clock";
import { AiosError, type Code, messageOf } from "#lib/errors";
import { type Command, type Context, type Exit, exit, type Option, UsageError } from "./command.ts";
import { commands } from "./commands.ts";
import { whyUnreachable } from "./diagnosis.ts";
import { helpOf, overview } from "./help.ts";
import { whatNext } from "./next.ts";
import { openOut } from "./out.ts";
import type { Screen } from "./screen.ts";
import { type Connection, openTarget } from "./target.ts";

/** The world a command line runs in. */
interface CliWorld {
  /** The operator's folder. */
  readonly folder: string;
  /** The folder of the daemons' sockets. */
  readonly run: string;
  /** What the person types for `aiosctl`: "npm run aiosctl --" in the repository. */
  readonly called?: string;
  /** The machine named by the environment, when the command line names none. */
  readonly machine: string | undefined;
  /** The terminal behind `write`; undefined when it is none. */
  readonly screen?: Screen | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  write(text: string): void;
  writeError(text: string): void;
  /** All of standard input, as text. */
  input(): Promise<string>;
  /** Asks the person at the terminal for a line; undefined when there is no more. Absent where nobody can be asked. */
  readonly ask?: ((question: string) => Promise<string | undefined>) | undefined;
}

/** Options of every command. */
export const globalOptions: Readonly<Record<string, Option>> = {
  machine: { type: "string", short: "m", value: "NAME", about: "a known machine, or HOST[:PORT] (also AIOS_MACHINE)" },
  json: { type: "boolean", about: "JSON, one document a line" },
  help: { type: "boolean", short: "h", about: "how to use it, with examples" },
};

/** Codes that mean: not reached, or not allowed. */
const unreachable: readonly Code[] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "UNAUTHENTICATED", "PERMISSION_DENIED"];

/** Runs a command line (without the program's name) and tells what the shell is to be told. */
export async function run(argv: readonly string[], world: CliWorld): Promise<Exit> {
  let connection: Connection | undefined;
  const json = argv.includes("--json");
  const out = openOut(json, world.write, world.writeError);
  const fail = (code: string, message: string) =>
    json ? world.writeError(`${JSON.stringify({ error: { code, message } })}\n`) : out.note(`aiosctl: ${message}`);
  try {
    const { command, values, args } = parse(argv);
    if (command === undefined || values["help"] === true) return help(command, args, values["help"] === true, world);
    const wanted = values["machine"];
    const machine = typeof wanted === "string" ? wanted : world.machine;
    const context: Context = {
      args,
      values,
      out,
      screen: world.screen,
      clock: world.clock,
      signal: world.signal,
      folder: world.folder,
      machine,
      called: world.called ?? "aiosctl",
      input: world.input,
      ask: world.ask,
      target() {
        connection ??= openTarget({ folder: world.folder, run: world.run, wanted: machine });
        return connection;
      },
    };
    return await command.run(context);
  } catch (error) {
    if (world.signal.aborted) return exit.interrupted;
    if (error instanceof UsageError) {
      fail("USAGE", error.message);
      return exit.usage;
    }
    const code = error instanceof AiosError ? error.code : "INTERNAL";
    const why = code === "UNAVAILABLE" && connection ? await whyUnreachable(connection, world.clock.now()) : undefined;
    fail(code, why ?? messageOf(error));
    return error instanceof AiosError && unreachable.includes(error.code) ? exit.unreachable : exit.failed;
  } finally {
    connection?.close();
  }
}

/** Help that was asked for goes to standard output; a command that is none gets it as an error. */
function help(command: Command | undefined, words: readonly string[], asked: boolean, world: CliWorld): Exit {
  const [group] = words;
  const known = group === undefined || commands.some(({ name }) => name.split(" ")[0] === group);
  const shown = command ? helpOf(command, globalOptions) : overview(commands, globalOptions, group);
  const fine = known && (asked || group === undefined);
  world[fine ? "write" : "writeError"](shown);
  return fine ? exit.ok : exit.usage;
}

interface Parsed {
  readonly command: Command | undefined;
  readonly values: Context["values"];
  readonly args: readonly string[];
}

/** Finds the command among the words, then reads the line again by its options alone. */
function parse(argv: readonly string[]): Parsed {
  const all = Object.assign({}, ...commands.map(({ options }) => options), globalOptions) as Record<string, Option>;
  const loose = parseArgs({ args: [...argv], options: all, allowPositionals: true, strict: false });
  const help = loose.values["help"] === true;
  const command =
    find(loose.positionals) ?? (help ? undefined : (listOf(loose.positionals) ?? alone(loose.positionals)));
  if (command === undefined || help)
    return { command, values: loose.values as Context["values"], args: loose.positionals };
  const { values, positionals } = strictly(argv, command);
  const args = positionals.slice(command.name.split(" ").length);
  const [least, most] = command.args;
  if (args.length < least || args.length > most)
    throw new UsageError(`usage: aiosctl ${`${command.name} ${command.usage}`.trim()}`);
  return { command, values: values as Context["values"], args };
}

function strictly(argv: readonly string[], command: Command) {
  try {
    return parseArgs({ args: [...argv], options: { ...command.options, ...globalOptions }, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${messageOf(error)}; see "aiosctl ${command.name} --help"`);
  }
}

/** The command that the words begin with. */
function find(words: readonly string[]): Command | undefined {
  return commands.find(({ name }) => name.split(" ").every((word, at) => words[at] === word));
}

/** No word at all: what there is to do. */
function alone(words: readonly string[]): Command | undefined {
  return words.length === 0 ? whatNext : undefined;
}

/** "goal" alone is "goal list". */
function listOf(words: readonly string[]): Command | undefined {
  return words.length === 1 ? commands.find(({ name }) => name === `${words[0]} list`) : undefined;
}
