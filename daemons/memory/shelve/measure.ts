/**
 * Prints how well the image's knowledge is found, as JSON: `node daemons/memory/shelve/measure.ts KNOWLEDGE.db [--missed]`.
 * `heldOut`: over the questions that nothing was tuned with.
 */
import { fileURLToPath } from "node:url";
import { qualityOf, questionsIn } from "./quality.ts";

const [shelf = "", missed] = process.argv.slice(2);
const questions = questionsIn(fileURLToPath(new URL("questions.txt", import.meta.url)));
const all = await qualityOf(shelf, questions);
const heldOut = await qualityOf(
  shelf,
  questions.filter((_, at) => at % 2 === 1),
);
process.stdout.write(`${JSON.stringify({ all: all.scores, heldOut: heldOut.scores })}\n`);
if (missed !== undefined) for (const line of all.missed) process.stderr.write(`${line}\n`);
