/** Prints the help of every command as JSON, for the knowledge that the image ships: `node daemons/ctl/reference.ts`. */
import { commands } from "./commands.ts";
import { helpOf } from "./help.ts";

const references = commands.map((command) => ({
  name: command.name,
  summary: command.summary,
  help: helpOf(command, {}),
}));
process.stdout.write(`${JSON.stringify(references)}\n`);
