/** Fails, naming file, line and the alternative, where the house rules (ci/rules.ts, ci/structure.ts) are broken. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { readModule } from "./modules.ts";
import { forbiddenFindings, importFindings, lengthFindings } from "./rules.ts";
import { circleFindings, exportFindings, folderFindings, roomFindings, testingFindings } from "./structure.ts";

const root = resolve(import.meta.dirname, "..");
/** These quote what they forbid. */
const exempt = ["ci/rules.ts", "ci/rules.test.ts"];

const paths = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "*.ts", ":!proto/gen"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((path) => path !== "" && existsSync(join(root, path)));
const modules = paths.map((path) => readModule({ path, text: readFileSync(join(root, path), "utf8") }));

const findings = [
  ...modules.flatMap((module) => [
    ...importFindings(module),
    ...(exempt.includes(module.path) ? [] : forbiddenFindings(module)),
    ...lengthFindings(module),
  ]),
  ...[circleFindings, exportFindings, testingFindings, folderFindings, roomFindings].flatMap((rule) => rule(modules)),
];

for (const { path, line, problem } of findings) console.error(`${path}:${line}: ${problem}`);
if (findings.length > 0) process.exitCode = 1;
