import { statfs } from "node:fs/promises";
import { loadavg } from "node:os";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { type CpuTicks, cpuTicks, memoryInfo } from "#lib/linux/proc";
import { reads, type Tool } from "../../tool.ts";
import { absolutePath, named, object } from "../shared/index.ts";

const percent = Type.Number({ minimum: 0, maximum: 100 });

/** The kernel counts processor time in hundredths of a second: a shorter span says nothing. */
const spanMinMs = 100;

/** The span that processor use is measured over, at least, once the daemon has run that long. */
const spanMs = 1_000;

export function usageTools(clock: Clock): readonly Tool[] {
  const use = cpuUse(clock);
  const cpu = reads({
    name: "monitor.cpu",
    summary: "Tells how busy the processors were over the last second or since the last call, and the load averages.",
    input: object({}),
    output: object({
      percent,
      cores: Type.Integer({ minimum: 1 }),
      load_avg: Type.Array(Type.Number(), { minItems: 3, maxItems: 3 }),
    }),
    capabilities: ["monitor:read"],
    timeoutMs: 5_000,
    run: async ({ signal }) => ({ ...(await use(signal)), load_avg: loadavg().map(round) }),
  });
  return [cpu, memory, disk];
}

const memory = reads({
  name: "monitor.memory",
  summary: "Tells how much memory there is and how much of it is used, in MiB; what can be freed counts as available.",
  input: object({}),
  output: object({ total_mb: Type.Integer(), used_mb: Type.Integer(), available_mb: Type.Integer(), percent }),
  capabilities: ["monitor:read"],
  timeoutMs: 5_000,
  run: () => {
    const kib = memoryInfo("/proc");
    const total = kib("MemTotal");
    const available = kib("MemAvailable");
    const mib = (size: number) => Math.round(size / 1024);
    return {
      total_mb: mib(total),
      used_mb: mib(total - available),
      available_mb: mib(available),
      percent: round((100 * (total - available)) / total),
    };
  },
});

const disk = reads({
  name: "monitor.disk",
  summary: "Tells how large the file system that holds a path is and how much of it is used, in GiB.",
  input: object({ path: absolutePath }),
  output: object({ total_gb: Type.Number(), used_gb: Type.Number(), available_gb: Type.Number(), percent }),
  resources: { path: "path" },
  capabilities: ["monitor:read"],
  timeoutMs: 5_000,
  run: ({ resources: { path } }) =>
    named("measure", path.path, async () => {
      const found = await statfs(path.path);
      const gib = (blocks: number) => round((blocks * found.bsize) / 2 ** 30);
      const used = found.blocks - found.bfree;
      // As df has it: what is reserved for root counts as neither.
      const usable = used + found.bavail;
      return {
        total_gb: gib(found.blocks),
        used_gb: gib(used),
        available_gb: gib(found.bavail),
        percent: usable === 0 ? 0 : round((100 * used) / usable),
      };
    }),
});

interface Sample extends CpuTicks {
  readonly at: number;
}

/**
 * Processor use since one of two earlier samples: the younger when it is old enough, else the older.
 * So no call waits, but for one in the first tenth of a second.
 */
function cpuUse(clock: Clock): (signal: AbortSignal) => Promise<{ percent: number; cores: number }> {
  let older: Sample = sample(clock);
  let younger = older;
  return async (signal) => {
    const waitMs = older.at + spanMinMs - clock.monotonic();
    if (waitMs > 0) await clock.sleep(waitMs, signal);
    const now = sample(clock);
    const since = now.at - younger.at >= spanMs ? younger : older;
    if (since === younger) [older, younger] = [younger, now];
    const total = now.total - since.total;
    const busy = Math.max(0, Math.min(total, now.busy - since.busy));
    return { percent: total <= 0 ? 0 : round((100 * busy) / total), cores: now.cores };
  };
}

const sample = (clock: Clock): Sample => ({ at: clock.monotonic(), ...cpuTicks("/proc") });

const round = (value: number) => Math.round(value * 100) / 100;
