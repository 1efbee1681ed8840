import { AiosError } from "#lib/errors";
import { type Service, service } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import { AutonomyService, type AutonomyState } from "#proto/aios/autonomy";
import type { Goals } from "../goals/index.ts";
import { type Autonomy, levels } from "../initiative/index.ts";
import { nameOf, refuseAgents } from "./callers.ts";

/** Most characters of a reason. */
const reasonLengthMax = 500;

interface AutonomyMeans {
  readonly autonomy: Autonomy;
  readonly goals: Pick<Goals, "counts" | "waiting">;
  /** Agents whose duties rest, each with the reason. */
  resting(): string[];
  /** Notices that give no goal at present, each with the reason. */
  heldBack(): string[];
}

/** aios.orchestrator.Autonomy: for operators and core daemons; agents may read. */
export function autonomyService({
  autonomy,
  goals,
  resting,
  heldBack,
}: AutonomyMeans): Service<typeof AutonomyService> {
  const state = (): AutonomyState => {
    const { level, configured, stop } = autonomy;
    return {
      level,
      configuredLevel: configured,
      stopped: stop !== undefined,
      stoppedBy: stop?.by ?? "",
      reason: stop?.reason ?? "",
      stoppedAt: stop?.at ?? 0,
      goalsHeld: goals.counts().activeGoals,
      resting: resting(),
      heldBack: heldBack(),
      waiting: goals.waiting(),
      unstored: autonomy.unstored,
    };
  };
  return service(AutonomyService, {
    getAutonomy: () => state(),
    setAutonomy: ({ level }, { identity }) => {
      refuseAgents(identity, "set the autonomy level");
      const found = levels.find((one) => one === level);
      if (found === undefined && level !== "") {
        throw new AiosError("INVALID_ARGUMENT", `set the autonomy level: "${level}" is none of ${levels.join(", ")}`);
      }
      autonomy.setLevel(found ?? "", nameOf(identity));
      return state();
    },
    emergencyStop: async ({ reason }, { identity }) => {
      refuseAgents(identity, "stop the machine");
      await autonomy.emergencyStop(nameOf(identity), beginning(reason, reasonLengthMax));
      return state();
    },
    emergencyResume: async (_, { identity }) => {
      refuseAgents(identity, "resume the machine");
      await autonomy.emergencyResume(nameOf(identity));
      return state();
    },
  });
}
