import { beginning } from "#lib/text";
import { type Duty, listIn } from "./duty.ts";

const minute = 60_000;

/** Refusals of one agent between two reviews that are worth a word. */
const refusalsWarning = 10;

export const security: Duty = {
  name: "security",
  tools: ["sec.audit", "sec.verify_ledger", "sec.scan"],
  limits: { callsPerWakeMax: 4 },
  wakes: [
    {
      name: "audit review",
      everyMs: 2 * minute,
      first: "spread",
      async run({ call, state, kept }) {
        const since = Number(kept.get("reviewed") ?? 0);
        const answer = await call("sec.audit", { since, limit: 500 }, "the audit review of the security agent");
        const entries = listIn(answer, "entries");
        kept.set("reviewed", Math.max(since, ...entries.map(({ at }) => Number(at))));
        const refused = new Map<string, number>();
        for (const { state: outcome, caller, caller_kind: kind } of entries) {
          if (kind !== "agent") continue;
          refused.set(String(caller), (refused.get(String(caller)) ?? 0) + (outcome === "refused" ? 1 : 0));
        }
        for (const [agent, count] of refused) {
          const severity = count >= refusalsWarning ? "warning" : "info";
          state({ category: "security.refusals", severity, subject: agent, detail: `${count} calls were refused` });
        }
      },
    },
    {
      name: "ledger",
      everyMs: 10 * minute,
      first: "spread",
      async run({ call, state }) {
        const { valid, problems } = await call("sec.verify_ledger", {}, "the ledger check of the security agent");
        const detail = valid === true ? "valid" : beginning(JSON.stringify(problems), 1_000);
        state({
          category: "security.ledger",
          severity: valid === true ? "info" : "critical",
          subject: "ledger",
          detail,
        });
      },
    },
    {
      name: "scan",
      everyMs: 6 * 60 * minute,
      first: "spread",
      async run({ call, state }) {
        const { risk_level: risk, total } = await call("sec.scan", {}, "the scan of the security agent");
        const severity = risk === "critical" ? "critical" : risk === "high" ? "warning" : "info";
        state({
          category: "security.scan",
          severity,
          subject: "machine",
          detail: `risk ${String(risk)}, ${String(total)} findings`,
        });
      },
    },
  ],
};
