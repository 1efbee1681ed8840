import { type Duty, type Hands, listIn, numberIn, type WatchedService } from "./duty.ts";

/** Measurements that anomalies are judged by, and how many there must be before. */
export const baselineWindow = 100;
const baselineLeast = 20;

/** Standard deviations from the mean that are an anomaly, and the least distance: what hardly changes is soon far off. */
const deviationsMax = 4;
const distanceLeast = 10;

/** A service that is not ready is looked at again before anyone is told: one that is just starting is well. */
const failuresBeforeTold = 2;

/** Measures, and watches services: those of init that are enabled, and those of the registry. */
export const monitor: Duty = {
  name: "monitor",
  purpose: "Measures processor, memory, disks, network and hardware.",
  tools: ["monitor.cpu", "monitor.memory", "monitor.disk", "service.list", "net.check_port", "net.http_request"],
  limits: { callsPerWakeMax: 60 },
  brief: "Measure the machine, tell what is unlike before, and notice at once when a service does not answer.",
  wakes: [
    {
      name: "metrics",
      everyMs: 30_000,
      first: "spread",
      async run(hands) {
        const reason = "the measurements of the monitor agent";
        keep(hands, "cpu.percent", numberIn(await hands.call("monitor.cpu", {}, reason), "percent"));
        keep(hands, "memory.percent", numberIn(await hands.call("monitor.memory", {}, reason), "percent"));
        keep(hands, "disk.percent", numberIn(await hands.call("monitor.disk", { path: "/" }, reason), "percent"));
      },
    },
    {
      name: "anomalies",
      everyMs: 60_000,
      first: "spread",
      async run(hands) {
        for (const [name, values] of hands.kept) {
          if (!name.startsWith("metric ") || !Array.isArray(values)) continue;
          const odd = oddness(values as number[]);
          const subject = name.slice("metric ".length);
          const detail = odd === undefined ? "as before" : odd;
          hands.state({
            category: "metric.anomaly",
            severity: odd === undefined ? "info" : "warning",
            subject,
            detail,
          });
        }
      },
    },
    {
      name: "services",
      everyMs: 15_000,
      first: "spread",
      async run(hands) {
        const { kept, call, state } = hands;
        const down = new Map<string, string>();
        const seen = new Set<string>();
        for (const unit of listIn(await call("service.list", {}, "the watch of the monitor agent"), "services")) {
          if (unit["managed"] !== true || unit["enabled"] !== true) continue;
          const name = String(unit["name"]);
          seen.add(name);
          // Whoever stopped it wanted it so.
          const wanted = unit["reason"] !== "stopped on demand";
          if (unit["status"] !== "ready" && wanted) down.set(name, `${unit["status"]}: ${unit["reason"]}`);
        }
        for (const service of await hands.services()) {
          const fault = await faultOf(service, hands);
          hands.health(service.name, fault === "", fault);
          const unit = service.managedBy || service.name;
          seen.add(unit);
          if (fault !== "") down.set(unit, fault);
        }
        for (const name of seen) {
          const failures = down.has(name) ? Number(kept.get(`failures ${name}`) ?? 0) + 1 : 0;
          kept.set(`failures ${name}`, failures);
          const severity = failures >= failuresBeforeTold ? "critical" : "info";
          state({ category: "service.down", severity, subject: name, detail: down.get(name) ?? "ready" });
        }
      },
    },
  ],
};

function keep({ measure, kept }: Hands, key: string, value: number): void {
  measure(key, value);
  const before = (kept.get(`metric ${key}`) as number[] | undefined) ?? [];
  kept.set(`metric ${key}`, [...before, value].slice(-baselineWindow));
}

/** Why the last of these values is unlike those before; undefined when it is like them, or they are too few. */
export function oddness(values: readonly number[]): string | undefined {
  const last = values.at(-1);
  const before = values.slice(0, -1);
  if (last === undefined || before.length < baselineLeast) return undefined;
  const mean = before.reduce((sum, value) => sum + value, 0) / before.length;
  const deviation = Math.sqrt(before.reduce((sum, value) => sum + (value - mean) ** 2, 0) / before.length);
  const distance = Math.abs(last - mean);
  if (distance < Math.max(distanceLeast, deviationsMax * deviation)) return undefined;
  return `${last.toFixed(1)}, usually ${mean.toFixed(1)} ± ${deviation.toFixed(1)}`;
}

/** What is wrong with a service of the registry; empty when it answers. */
async function faultOf({ name, address, port, healthCheckPath }: WatchedService, { call }: Hands): Promise<string> {
  const reason = `the watch of service ${name}`;
  try {
    if (healthCheckPath === "") {
      const { open, state } = await call("net.check_port", { host: address, port, timeout_ms: 2_000 }, reason);
      return open === true || state === "open" ? "" : `port ${port} does not answer`;
    }
    const url = `http://${address}:${port}${healthCheckPath}`;
    const { status } = await call("net.http_request", { url }, reason);
    return typeof status === "number" && status < 400 ? "" : `${url} answers ${String(status)}`;
  } catch (error) {
    return String(error instanceof Error ? error.message : error).slice(0, 300);
  }
}
