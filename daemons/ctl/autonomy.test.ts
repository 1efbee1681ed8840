import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { service } from "#lib/rpc/service";
import { AutonomyService, AutonomyState } from "#proto/aios/autonomy";
import { type CancelGoalResponse, type CreateScheduleRequest, OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { openTwin, type Twin } from "./testing/twins.ts";

let twin: Twin;
let state: AutonomyState;
let created: CreateScheduleRequest[];
let rolledBack: string[];
let cancelled: CancelGoalResponse;

beforeEach(async () => {
  twin = openTwin();
  state = AutonomyState.fromPartial({ level: "full", configuredLevel: "full" });
  created = [];
  rolledBack = [];
  cancelled = { success: true, message: "goal g is cancelled", executionIds: [] };
  // For the command line to take this for the machine itself.
  await twin.daemon("init");
  await twin.daemon(
    "tools",
    service(ToolRegistryService, {
      rollback: ({ executionId }) => {
        rolledBack.push(executionId);
        return { success: true, error: "" };
      },
    }),
  );
  await twin.daemon(
    "orchestrator",
    service(AutonomyService, {
      getAutonomy: () => state,
      setAutonomy: ({ level }) => {
        state = { ...state, level: level || state.configuredLevel };
        return state;
      },
      emergencyStop: ({ reason }) => {
        state = { ...state, stopped: true, stoppedBy: "operator:o", reason, goalsHeld: 2 };
        return state;
      },
      emergencyResume: () => {
        state = { ...state, stopped: false };
        return state;
      },
    }),
    service(OrchestratorService, {
      cancelGoal: () => cancelled,
      createSchedule: (request) => {
        created.push(request);
        return { scheduleId: "s1", success: true };
      },
      listSchedules: () => ({
        schedules: created.map((one) => ({
          ...one,
          id: "s1",
          enabled: true,
          lastRun: 0,
          nextRun: 1_800_000_000_000,
          lastGoal: "",
        })),
      }),
      deleteSchedule: ({ scheduleId }) => ({ success: true, message: `schedule ${scheduleId} is removed` }),
    }),
  );
});

afterEach(() => twin.close());

describe("aiosctl", () => {
  it("tells and sets how far the machine acts by itself", async () => {
    expect((await twin.aiosctl("autonomy")).out).toBe("full\n");
    expect((await twin.aiosctl("autonomy", "manual")).out).toBe(
      "manual (the configuration says full)\n" +
        'agents begin nothing by themselves; what is held back is done when you give it: aiosctl goal submit "…"\n',
    );
    expect((await twin.aiosctl("autonomy", "configured")).out).toBe("full\n");
    expect((await twin.aiosctl("autonomy", "wild")).code).toBe(2);
  });

  it("tells what is held back", async () => {
    state = { ...state, level: "manual", heldBack: ["restart service nginx (nginx: stopped): the level is manual"] };
    expect((await twin.aiosctl("autonomy")).out).toContain(
      "\nheld back: restart service nginx (nginx: stopped): the level is manual\n",
    );
  });

  it("stops and resumes it, and says how", async () => {
    const { out } = await twin.aiosctl("emergency", "stop", "--reason", "smoke");
    expect(out).toContain("stopped by operator:o");
    expect(out).toContain("smoke; 2 goals are held");
    expect(out).toContain("aiosctl emergency resume");
    expect((await twin.aiosctl("emergency", "resume")).out).toBe("full\n");
  });

  it("adds, lists and removes schedules", async () => {
    const zone = ["--zone", "Europe/Berlin"];
    expect((await twin.aiosctl("schedule", "add", "0 3 * * *", "check system health", ...zone)).out).toBe("s1\n");
    expect(created).toMatchObject([{ cronExpr: "0 3 * * *", timeZone: "Europe/Berlin", priority: 2 }]);
    expect((await twin.aiosctl("schedule", "list")).out).toMatch(/s1 +0 3 \* \* \* +Europe\/Berlin +2027-01-15/);
    expect((await twin.aiosctl("schedule", "remove", "s1")).out).toBe("schedule s1 is removed\n");
  });

  it("takes back what a cancelled goal did when asked to, and else only tells how", async () => {
    const message = "goal g is cancelled\nwhat it did can be taken back:\n  e2 b\n  e1 a\naiosctl rollback e2 e1";
    cancelled = { success: true, message, executionIds: ["e2", "e1"] };
    expect((await twin.aiosctl("goal", "cancel", "g")).out).toContain("aiosctl rollback e2 e1");
    expect(rolledBack).toEqual([]);
    expect((await twin.aiosctl("goal", "cancel", "g", "--rollback")).out).toContain("rolled back");
    expect(rolledBack).toEqual(["e2,e1"]);
  });
});
