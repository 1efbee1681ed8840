import { type Duty, type Hands, numberIn } from "./duty.ts";
import { probesMax, watchServices } from "./watch.ts";

/** Measurements that anomalies are judged by, and how many there must be before. */
const baselineWindow = 100;
const baselineLeast = 20;

/** Standard deviations from the mean that are an anomaly, and the least distance: what hardly changes is soon far off. */
const deviationsMax = 4;
const distanceLeast = 10;

/** Measures, and watches services. */
export const monitor: Duty = {
  name: "monitor",
  tools: [
    ...["monitor.cpu", "monitor.memory", "monitor.disk"],
    ...["monitor.watchlist", "service.list", "net.check_port", "net.http_request"],
  ],
  // The lists, and the services that are asked.
  limits: { callsPerWakeMax: probesMax + 2 },
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
      // What ended before it listened is not left waiting.
      first: "at once",
      events: ["unit.ended"],
      run: watchServices,
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
