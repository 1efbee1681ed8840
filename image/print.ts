import type { PlannedStep } from "./image.ts";
import type { BuildReport } from "./report.ts";

export function printPlan(plan: readonly PlannedStep[], json: boolean): void {
  if (json) console.log(JSON.stringify(plan, null, 1));
  else for (const { name, key, why } of plan) console.log(`${name.padEnd(16)} ${key.slice(0, 8)}  ${why ?? "cached"}`);
}

export function printReport(report: BuildReport, json: boolean): void {
  if (json) {
    console.log(JSON.stringify(report, null, 1));
    return;
  }
  const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
  for (const { name, bytes, sha256 } of report.artefacts)
    console.log(`out/${name.padEnd(11)} ${mib(bytes).padStart(11)}  ${sha256}`);
  if (report.drift.length > 0) console.log(`differs from the locks: ${report.drift.join("; ")}`);
}
