import { type Duty, listIn } from "./duty.ts";

/** Lists are as fresh as the last pkg.update, which a schedule or a person gives: fetching them is a change, and asks outside. */
export const packages: Duty = {
  name: "package",
  tools: ["pkg.check_vuln"],
  limits: { callsPerWakeMax: 2 },
  wakes: [
    {
      name: "vulnerabilities",
      everyMs: 24 * 3_600_000,
      first: "spread",
      async run({ call, state }) {
        const findings = listIn(await call("pkg.check_vuln", {}, "the daily check of the package agent"), "findings");
        const severity = findings.length > 0 ? "warning" : "info";
        state({ category: "package.vulnerable", severity, subject: "packages", detail: `${findings.length} findings` });
      },
    },
  ],
};
