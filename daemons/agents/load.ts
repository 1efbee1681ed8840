import type { Clock } from "#lib/clock";

/** The processor and memory that this process takes. */
export interface Load {
  /** Of one processor, since the reading before. */
  readonly cpuPercent: number;
  readonly memoryMb: number;
}

export function ownLoad(clock: Clock): () => Load {
  let last = { at: clock.monotonic(), cpu: process.cpuUsage() };
  return () => {
    const now = { at: clock.monotonic(), cpu: process.cpuUsage() };
    const usedMs = (now.cpu.user + now.cpu.system - last.cpu.user - last.cpu.system) / 1_000;
    const cpuPercent = now.at > last.at ? (100 * usedMs) / (now.at - last.at) : 0;
    last = now;
    return { cpuPercent, memoryMb: process.memoryUsage.rss() / 1_048_576 };
  };
}
