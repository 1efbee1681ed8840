import { SecretsService } from "#proto/aios/api_gateway";
import { type Command, type Context, exit, UsageError } from "../command.ts";
import { moment } from "../words.ts";

const secrets = (context: Context) => context.target().client(SecretsService, "gateway");

export const secretsList: Command = {
  name: "secrets list",
  summary: "which keys of model providers the machine has; never the keys themselves",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl secrets", "aiosctl secrets --json | jq -r '.secrets[].name'"],
  async run(context) {
    const { secrets: known } = await secrets(context).listSecrets({});
    context.out.table(
      ["name", "set (utc)", "by"],
      known.map(({ name, setAt, setBy }) => [name, moment(setAt), setBy]),
    );
    context.out.document({ secrets: known });
    return exit.ok;
  },
};

export const secretsSet: Command = {
  name: "secrets set",
  summary: "give the machine a model provider's key, read from standard input",
  usage: "NAME",
  args: [1, 1],
  // A key among the arguments would be in the shell's history and in the list of processes.
  examples: ["aiosctl secrets set claude < key.txt", "pass show anthropic | aiosctl secrets set claude"],
  async run(context) {
    const { args, out } = context;
    const name = args[0] ?? "";
    const value = (await context.input()).trim();
    if (value === "") throw new UsageError(`nothing came on standard input: usage: aiosctl secrets set ${name} < FILE`);
    await secrets(context).setSecret({ name, value });
    out.line(`${name} is set`);
    out.document({ name, set: true });
    return exit.ok;
  },
};

export const secretsRemove: Command = {
  name: "secrets remove",
  summary: "take a model provider's key from the machine",
  usage: "NAME",
  args: [1, 1],
  examples: ["aiosctl secrets remove claude"],
  async run(context) {
    const { args, out } = context;
    const name = args[0] ?? "";
    const { success, message } = await secrets(context).removeSecret({ name });
    out.line(success ? `${name} is removed` : message);
    out.document({ name, removed: success });
    return success ? exit.ok : exit.failed;
  },
};
