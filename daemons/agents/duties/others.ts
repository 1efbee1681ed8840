import { beginning } from "#lib/text";
import { type Duty, grade, listIn, type Output } from "./duty.ts";

const minute = 60_000;
const hour = 60 * minute;

/** Names outside are asked for only where a way out exists: an appliance may have none, and lacks nothing then. */
export const network: Duty = {
  name: "network",
  tools: ["net.route_list", "net.interfaces", "net.ping"],
  limits: { callsPerWakeMax: 4 },
  wakes: [
    {
      name: "connectivity",
      everyMs: minute,
      first: "spread",
      async run({ call, state }) {
        const reason = "the connectivity check of the network agent";
        const routes = listIn(await call("net.route_list", {}, reason), "routes");
        const gateway = routes.find(({ destination }) => destination === "default")?.["gateway"];
        // The gateway and no public servers: whoever watches an appliance's packets learns nothing, and it asks nobody outside.
        if (typeof gateway !== "string" || gateway === "") return;
        const { success } = await call("net.ping", { host: gateway, count: 1 }, reason).catch(() => ({
          success: false,
        }));
        const detail = success === true ? "the gateway answers" : `the gateway ${gateway} does not answer`;
        state({
          category: "network.gateway",
          severity: success === true ? "info" : "warning",
          subject: "gateway",
          detail,
        });
      },
    },
  ],
};

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
      everyMs: 6 * hour,
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

/**
 * File systems that can fill up, each once: the data volume is mounted at many places. Two are taken for the same that are alike in
 * size; the place that is mounted first stands for it, and the fullest says how full it is.
 */
function apart(all: readonly Output[]): readonly Output[] {
  const each = new Map<string, Output>();
  for (const one of all) {
    // The image's root is full by nature.
    if (one["read_only"] === true || typeof one["usage_percent"] !== "number") continue;
    const key = `${one["total_bytes"]} ${one["files_total"]}`;
    const known = each.get(key);
    const usage_percent = Math.max(Number(known?.["usage_percent"] ?? 0), one["usage_percent"]);
    each.set(key, { ...(known ?? one), usage_percent });
  }
  return [...each.values()];
}

/** Per cent of a file system. */
const diskLimits = { warning: 85, critical: 95 } as const;

export const storage: Duty = {
  name: "storage",
  tools: ["storage.usage"],
  limits: { callsPerWakeMax: 2 },
  wakes: [
    {
      name: "disks",
      everyMs: 5 * minute,
      first: "spread",
      async run({ call, state }) {
        const answer = await call("storage.usage", {}, "the disk check of the storage agent");
        for (const { path, usage_percent: used } of apart(listIn(answer, "file_systems"))) {
          const detail = `${used} % used`;
          state({ category: "storage.full", severity: grade(Number(used), diskLimits), subject: String(path), detail });
        }
      },
    },
  ],
};

/** Lists are as fresh as the last pkg.update, which a schedule or a person gives: fetching them is a change, and asks outside. */
export const packages: Duty = {
  name: "package",
  tools: ["pkg.check_vuln"],
  limits: { callsPerWakeMax: 2 },
  wakes: [
    {
      name: "vulnerabilities",
      everyMs: 24 * hour,
      first: "spread",
      async run({ call, state }) {
        const findings = listIn(await call("pkg.check_vuln", {}, "the daily check of the package agent"), "findings");
        const severity = findings.length > 0 ? "warning" : "info";
        state({ category: "package.vulnerable", severity, subject: "packages", detail: `${findings.length} findings` });
      },
    },
  ],
};

/** Runs steps of plans; of itself it does nothing, and so it has no standing grants at all. */
export const task: Duty = {
  name: "task",
  tools: [],
  limits: { callsPerWakeMax: 0 },
  wakes: [],
};

/** Repositories are watched by the goals that work in them: which ones there are is nobody's standing business. */
export const dev: Duty = {
  name: "dev",
  tools: [],
  limits: { callsPerWakeMax: 0 },
  wakes: [],
};
