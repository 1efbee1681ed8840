/**
 * `npm test`: everything. The check, every unit test, then the machine's tests (the image is built, and booted in
 * every lane). Ends with one line, "N passed, N failed".
 */
import { checks, machineTests, runParts, unitTests } from "./parts.ts";

const words = process.argv.slice(2);
if (words.some((word) => word !== "--help")) {
  console.error(`npm test: it takes no ${words.join(" ")}; it runs everything: to run less, npm run check -- --help`);
  process.exitCode = 2;
} else if (words.length > 0) {
  console.log(`npm test

Runs the check and every test, booting the machine in all lanes. Builds what is stale first. "npm run check" runs what
an edit needs, "npm run check -- --all" everything but the machine.

Examples:
  npm test`);
} else {
  await runParts([...checks, ...unitTests, machineTests]);
}
