/** Evaluates a file of code, or nothing for "", and writes V8's code cache of it: `node code-cache-maker.ts CODE TO`. */
import { writeFileSync } from "node:fs";
import { Script } from "node:vm";
import { runScript, scriptOf } from "#lib/load-code";

const [, , path = "", to = ""] = process.argv;
const script = path === "" ? new Script("") : scriptOf(path);
if (path !== "") {
  const { late } = runScript(script, path) as { readonly late: readonly (() => Promise<unknown>)[] };
  for (const evaluate of late) await evaluate();
}
writeFileSync(to, script.createCachedData());
process.exit(0);
