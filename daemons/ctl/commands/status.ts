import { messageOf } from "#lib/errors";
import { AutonomyService, type AutonomyState } from "#proto/aios/autonomy";
import { InitService, type Unit } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { type Command, exit } from "../command.ts";
import { count, duration } from "../words.ts";
import { stateOf } from "./units.ts";

export const status: Command = {
  name: "status",
  summary: "how the machine is: its boot, units, agents and goals",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl status", "aiosctl --machine lab status --json | jq .state"],
  async run({ target, out }) {
    const machine = target();
    const init = machine.client(InitService, "init");
    const orchestrator = machine.client(OrchestratorService, "orchestrator");
    const autonomy = machine.client(AutonomyService, "orchestrator");
    // The orchestrator may be away while the machine still answers: that is a state to show, not an error.
    const system = Promise.all([orchestrator.getSystemStatus({}), autonomy.getAutonomy({})]).then(
      ([work, state]) => ({
        work: { ...work, heldBack: state.heldBack, waiting: state.waiting },
        unable: stopOf(state),
      }),
      (error) => ({ work: { away: messageOf(error) }, unable: `no goal can be given: ${messageOf(error)}` }),
    );
    const [boot, { units }] = await Promise.all([init.getBoot({}), init.listUnits({})]);
    const { work, unable } = await system;
    const notReady = units.filter((unit) => stateOf(unit) !== "ready");
    const faults = unable === "" ? boot.faults : [...boot.faults, unable];
    const state = stateNow(boot.state, units, unable === "");
    out.line(`${machine.name}: ${state}, version ${boot.version || "unknown"}`);
    if (boot.autonomyMs > 0) out.line(`  boot     autonomous ${duration(boot.autonomyMs)} after kernel start`);
    out.line(`  units    ${units.length - notReady.length} of ${units.length} ready`);
    for (const unit of notReady)
      out.line(`           ${unit.name} is ${stateOf(unit)}${unit.reason ? `: ${unit.reason}` : ""}`);
    if ("away" in work) {
      out.line(`  work     ${work.away}`);
    } else {
      out.line(`  agents   ${work.activeAgents} active, autonomy ${work.autonomyLevel || "unknown"}`);
      out.line(`  goals    ${count(work.activeGoals, "goal")} under way, ${count(work.pendingTasks, "task")} waiting`);
      out.line(`  models   ${work.loadedModels.join(", ") || "none loaded"}`);
      const memory = `${Math.round(work.memoryUsedMb)} of ${Math.round(work.memoryTotalMb)} MB`;
      out.line(
        `  load     processor ${Math.round(work.cpuPercent)} %, memory ${memory}, up ${duration(work.uptimeSeconds * 1000)}`,
      );
    }
    // What the machine would do by itself, and leaves to a person; then what it has asked one.
    if ("heldBack" in work) {
      for (const one of work.heldBack) out.line(`  held     ${one}`);
      for (const one of work.waiting) out.line(`  waits    ${one}`);
    }
    if (boot.clock?.sure === false) out.line(`  clock    not sure: ${boot.clock.detail}`);
    for (const fault of faults) out.line(`  fault    ${fault}`);
    out.document({
      machine: machine.name,
      state,
      version: boot.version,
      autonomyMs: boot.autonomyMs,
      clock: boot.clock,
      faults,
      units: units.map((unit) => ({ name: unit.name, state: stateOf(unit), reason: unit.reason })),
      ...("away" in work ? { orchestrator: work.away } : work),
    });
    return exit.ok;
  },
};

/** Who can be given no goal, or lacks a daemon that would do it, is not autonomous now, whatever its boot was. */
export function stateNow(booted: string, units: readonly Unit[], able: boolean): string {
  const fit = able && !units.some((unit) => stateOf(unit) !== "ready" && !unit.managed);
  return booted === "autonomous" && !fit ? "degraded" : booted;
}

/** Why the machine takes no goal because somebody stopped it; empty when nobody has. */
function stopOf({ stopped, stoppedBy, reason }: AutonomyState): string {
  return stopped ? `stopped by ${stoppedBy}${reason && `: ${reason}`}; "aiosctl emergency resume" goes on` : "";
}
