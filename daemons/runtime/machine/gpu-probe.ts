import { createRequire } from "node:module";
import type { ProbeAnswer } from "./gpu.ts";

/*
 * Asks one back end of llama.cpp for its GPUs, in a process of its own: a driver that crashes, hangs or prints costs this
 * process and nothing else. The answer is one line of JSON on standard output.
 */
interface ProbedBinding {
  setLogger(logger: (level: number, message: string) => void): void;
  setLoggerLogLevel(level: number): void;
  loadBackends(folder: string): void;
  init(): Promise<void>;
  getGpuType(): string | false | undefined;
  ensureGpuDeviceIsSupported(): void;
  getGpuVramInfo(): { total: number; used: number; unifiedSize: number };
  getGpuDeviceInfo(): { deviceNames: string[] };
}

const folder = process.argv[2] ?? "";
const binding = createRequire(import.meta.url)(`${folder}/llama-addon.node`) as ProbedBinding;
binding.setLoggerLogLevel(2);
binding.setLogger(() => {});
binding.loadBackends(folder);
await binding.init();
binding.ensureGpuDeviceIsSupported();
const { total, used } = binding.getGpuVramInfo();
const answer: ProbeAnswer = {
  backend: binding.getGpuType() || "cpu",
  devices: binding.getGpuDeviceInfo().deviceNames,
  totalBytes: total,
  freeBytes: Math.max(0, total - used),
};
process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
