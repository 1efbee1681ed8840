import { InitService, UnitState } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import type { GoalOutcome } from "./goal.ts";
import type { Machine } from "./machine.ts";

/** A phase of the boot, in milliseconds from kernel start to its end. */
interface PhaseReport {
  readonly name: string;
  readonly ms: number;
}

/** A unit: milliseconds from kernel start until it was ready, and the memory (PSS) of its processes. */
interface UnitReport {
  readonly name: string;
  readonly readyMs: number;
  readonly pssBytes: number;
}

/** A boot in figures: what `npm run up -- --until autonomy --json` prints. */
export interface BootReport {
  readonly lane: string;
  readonly accelerator: string;
  readonly firstJavascriptMs: number;
  readonly phases: readonly PhaseReport[];
  readonly autonomyMs: number;
  readonly units: readonly UnitReport[];
  /** Agents that are registered and answer. */
  readonly agents: number;
  /** Bytes of what was booted, by name. */
  readonly imageBytes: Readonly<Record<string, number>>;
  readonly goal?: GoalOutcome;
}

const agentReady: readonly string[] = ["idle", "active"];

/** Asks a machine that has booted for its figures. */
export async function bootReport(machine: Machine, imageBytes: Readonly<Record<string, number>>): Promise<BootReport> {
  const init = machine.client(InitService);
  const orchestrator = machine.client(OrchestratorService);
  const options = { timeoutMs: 30_000 };
  try {
    const boot = await init.getBoot({}, options);
    const { units } = await init.listUnits({}, options);
    const { agents } = await orchestrator.listAgents({}, options);
    return {
      lane: machine.lane,
      accelerator: machine.accelerator,
      firstJavascriptMs: boot.firstJavascriptMs,
      phases: boot.phases.map(({ name, startedMs, durationMs }) => ({ name, ms: startedMs + durationMs })),
      autonomyMs: boot.autonomyMs,
      units: units
        .filter(({ state }) => state === UnitState.UNIT_READY)
        .map(({ name, startedAt, readyAfterMs, memoryBytes }) => ({
          name,
          readyMs: startedAt - boot.kernelStartAt + readyAfterMs,
          pssBytes: memoryBytes,
        })),
      agents: agents.filter(({ status }) => agentReady.includes(status)).length,
      imageBytes,
    };
  } finally {
    init.close();
    orchestrator.close();
  }
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`.padStart(9);
const mebibytes = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`.padStart(10);

/** The same as a table. */
export function showReport(report: BootReport): string {
  return [
    `${report.lane} lane, ${report.accelerator}`,
    `${seconds(report.firstJavascriptMs)}  first JavaScript`,
    ...report.phases.map(({ name, ms }, index) => `${seconds(ms)}  phase ${index + 1} ${name}`),
    `${seconds(report.autonomyMs)}  autonomy, ${report.agents} agents ready`,
    "",
    ...report.units.map(({ name, readyMs, pssBytes }) => `${seconds(readyMs)} ${mebibytes(pssBytes)}  ${name}`),
    "",
    ...Object.entries(report.imageBytes).map(([name, bytes]) => `${" ".repeat(9)} ${mebibytes(bytes)}  ${name}`),
  ].join("\n");
}
