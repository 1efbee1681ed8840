import { afterAll, describe, expect, it } from "vitest";
import { allAgents } from "../agents.ts";
import { budgetUsd, gullible } from "../goals/gullible.ts";
import { runSamples, type SampleEnd } from "../goals/run.ts";
import { openStrategist, type Strategist } from "../goals/strategist.ts";
import { twentyGoals } from "../goals/twenty.ts";
import { laneRuns, useFleet } from "./fleet.ts";

describe.runIf(laneRuns("native"))("twenty goals", () => {
  const fleet = useFleet();
  let strategist: Strategist | undefined;
  let ends: readonly SampleEnd[];
  afterAll(() => strategist?.server.close());

  it("are done, or refused each for its own reason, and the machine is as it should be after each", async () => {
    strategist = await openStrategist("openai", "native", { otherwise: gullible, budgetUsd });
    const machine = await fleet.boot({ lane: "native", name: "goals", append: strategist.append });
    await strategist.introduce(machine);
    ends = await runSamples(machine, twentyGoals, strategist.server);
    expect(ends.filter(({ end }) => end === "failed")).toEqual([]);
    expect(ends.map(({ name, end }) => [name, end])).toEqual(twentyGoals.map(({ name, expect: end }) => [name, end]));
    expect(Map.groupBy(ends, ({ end }) => end).get("refused")).toHaveLength(5);
  }, 240_000);

  it("were work for all eight agents", () => {
    expect([...new Set(ends.flatMap(({ agents }) => agents))].toSorted()).toEqual(allAgents);
  });
});
