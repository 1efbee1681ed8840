/** Fails, naming file, line and the alternative, where the house rules (ci/rules.ts) are broken. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { forbiddenFindings, importFindings, lengthFindings } from "./rules.ts";

const root = resolve(import.meta.dirname, "..");
/** These quote what they forbid. */
const exempt = ["ci/rules.ts", "ci/rules.test.ts"];

const files = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "*.ts", ":!proto/gen"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((path) => path !== "" && !exempt.includes(path) && existsSync(join(root, path)));

const findings = files.flatMap((path) => {
  const source = { path, text: readFileSync(join(root, path), "utf8") };
  return [...importFindings(source), ...forbiddenFindings(source), ...lengthFindings(source)];
});

for (const { path, line, problem } of findings) console.error(`${path}:${line}: ${problem}`);
if (findings.length > 0) process.exitCode = 1;
