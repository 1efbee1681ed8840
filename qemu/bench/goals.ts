import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { consoleLines } from "#manifest";
import { allAgents } from "../agents.ts";
import { budgetUsd, gullible } from "../goals/gullible.ts";
import { runSamples, type SampleEnd } from "../goals/run.ts";
import { openStrategist } from "../goals/strategist.ts";
import { twentyGoals } from "../goals/twenty.ts";
import { startMachine } from "../machine.ts";
import type { Bench } from "./bench.ts";
import type { Measure } from "./row.ts";

const bootTimeoutMs = 120_000;

/**
 * Twenty goals on a native machine, one after the other: what must be done is done and what must be refused is refused, as
 * the machine's own tools see it. What no procedure covers is planned by a model on this host that does as it is told.
 */
export const goalsBench: Bench = async ({ images, accelerator, say }) => {
  const folder = mkdtempSync(join(tmpdir(), "aios-bench-goals-"));
  const strategist = await openStrategist("openai", "native", { otherwise: gullible, budgetUsd });
  try {
    const machine = await startMachine({
      ...{ lane: "native", data: "folder", images: await images(), folder, accelerator },
      ...{ operatorFolder: join(folder, "operator"), append: strategist.append },
    });
    try {
      await machine.waitFor(consoleLines.ready, bootTimeoutMs);
      await machine.reached(bootTimeoutMs);
      await strategist.introduce(machine);
      const ends = await runSamples(machine, twentyGoals, strategist.server, (end) => say(lineOf(end)));
      say(`bench: agents that worked: ${agentsOf(ends).join(", ")}`);
      return measuresOf(ends);
    } finally {
      await machine.cut();
    }
  } finally {
    await strategist.server.close();
    rmSync(folder, { recursive: true, force: true });
  }
};

/** "done     copy-file            212 ms   2 calls      0 tokens  system"; what was refused or has failed says why. */
function lineOf({ end, name, ms, calls, tokens, agents, result, why }: SampleEnd): string {
  const figures = `${ms.toFixed(0).padStart(6)} ms ${String(calls).padStart(3)} calls ${String(tokens).padStart(6)} tokens`;
  const more = { done: agents.join(", "), refused: result, failed: why }[end];
  return `bench: ${end.padEnd(7)} ${name.padEnd(20)} ${figures}  ${more}`;
}

const agentsOf = (ends: readonly SampleEnd[]) => [...new Set(ends.flatMap(({ agents }) => agents))].toSorted();

function measuresOf(ends: readonly SampleEnd[]): Measure[] {
  const of = (end: SampleEnd["end"]) => ends.filter((one) => one.end === end).length;
  const wanted = (expect: "done" | "refused") => twentyGoals.filter((goal) => goal.expect === expect).length;
  const sum = (field: "ms" | "calls" | "tokens") => ends.reduce((total, one) => total + one[field], 0);
  return [
    ...ends.flatMap(({ name, ms, calls, tokens }): Measure[] => [
      { name: `${name}.time`, value: ms, unit: "ms" },
      { name: `${name}.calls`, value: calls, unit: "count" },
      { name: `${name}.tokens`, value: tokens, unit: "count" },
    ]),
    { name: "total.done", value: of("done"), unit: "count", budget: wanted("done") },
    { name: "total.refused", value: of("refused"), unit: "count", budget: wanted("refused") },
    { name: "total.agents", value: agentsOf(ends).length, unit: "count", budget: allAgents.length },
    { name: "total.failed", value: of("failed"), unit: "count" },
    { name: "total.time", value: sum("ms"), unit: "ms" },
    { name: "total.calls", value: sum("calls"), unit: "count" },
    { name: "total.tokens", value: sum("tokens"), unit: "count" },
  ];
}
