import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { messageOf } from "#lib/errors";
import { daemons } from "#manifest";
import { drawing, shuffled } from "../faults/drawing.ts";
import { beginLines, countLines, lineOf, openOf, patiently, statesOf, submitLine } from "../faults/lines.ts";
import { killNow, type Victim, victimsOf } from "../faults/victims.ts";
import { verifyLedger } from "../goal.ts";
import { probe } from "../goals/probe.ts";
import type { Machine } from "../machine.ts";
import { allAgents, expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

const goalsCount = 50;
const killEveryMs = 2_000;
const submitEveryMs = 1_000;
/** Restarts, retries and their pauses included. */
const endsWithinMs = 240_000;
/** What draws the victims, another in each run; a run that failed is repeated with AIOS_CHAOS_SEED. */
const seed = Number(process.env["AIOS_CHAOS_SEED"] ?? randomInt(2 ** 31));

describe.runIf(laneRuns("native"))("chaos", () => {
  const fleet = useFleet();
  const ids = new Map<string, string>();
  const killed: string[] = [];
  let machine: Machine;

  it("boots", async () => {
    machine = await fleet.boot({ lane: "native", name: "chaos" });
    await expectAllAgents(machine);
    await beginLines(machine);
  });

  it(`${goalsCount} goals end while daemons and agents are killed every two seconds`, async () => {
    const stop = new AbortController();
    const victims = await victimsOf(machine);
    const killing = killUntil(machine, victims, stop.signal, killed);
    try {
      for (let at = 0; at < goalsCount; at += 1) {
        ids.set(await patiently(() => submitLine(machine, at)), lineOf(at));
        await delay(submitEveryMs);
      }
      const open = async () => openOf(await statesOf(machine, ids.keys()));
      await expect.poll(() => open().catch(messageOf), { timeout: endsWithinMs, interval: 500 }).toEqual([]);
    } finally {
      stop.abort();
      await killing;
      console.error(`chaos: seed ${seed}, killed ${killed.length}: ${killed.join(", ")}`);
    }
    expect(ids.size).toBe(goalsCount);
    expect(killed.length).toBeGreaterThan(15);
    expect(new Set(killed)).toEqual(
      new Set([...daemons, ...allAgents.map((name) => ({ name }))].map(({ name }) => name)),
    );
  }, 420_000);

  it("the machine is whole again", async () => {
    await expectAllAgents(machine, 60_000);
    await expect
      .poll(() => machine.reached(5_000).then(() => "reached", messageOf), { timeout: 60_000 })
      .toBe("reached");
  }, 180_000);

  it("no task's effect was applied twice, and each that is said to be done was applied", async () => {
    const { lines, done, twice, missing, states } = await countLines(machine, ids);
    expect({ twice, missing }).toEqual({ twice: [], missing: [] });
    console.error(`chaos: ${done.length} of ${goalsCount} goals completed, ${lines.length} lines written`);
    // A call that was cut off in the middle is not repeated when nobody can tell whether it acted; most are not.
    expect(done.length, [...states.values()].join(" ")).toBeGreaterThan(goalsCount / 2);
  });

  it("the ledger verifies, and no grant of a task is left", async () => {
    expect(await verifyLedger(machine)).toMatchObject({ valid: true, problems: [] });
    const look = probe(machine);
    const held = async () => {
      const all: unknown[] = [];
      for (const agent_id of allAgents) {
        const { capabilities } = (await look.call("sec.capabilities", { agent_id })) as {
          capabilities: { task_id: string }[];
        };
        // Standing grants are for an agent's duties, as long as it is on duty.
        all.push(...capabilities.filter(({ task_id }) => task_id !== "" && !task_id.startsWith("duties:")));
      }
      return all;
    };
    await expect.poll(held, { timeout: 30_000, interval: 1_000 }).toEqual([]);
    look.close();
  });
});

/**
 * Kills a daemon or an agent every two seconds: round by round all of them, each round in an order of its own. Who is not there
 * at the moment has its turn later in the round.
 */
async function killUntil(machine: Machine, victims: readonly Victim[], stop: AbortSignal, killed: string[]) {
  const random = drawing(seed);
  let round: Victim[] = [];
  while (!stop.aborted) {
    await delay(killEveryMs, undefined, { signal: stop }).catch(() => {});
    if (stop.aborted) return;
    if (round.length === 0) round = shuffled(victims, random);
    const processes = machine.processes();
    const at = round.findIndex(({ pick }) => pick(processes) !== undefined);
    const [victim] = at < 0 ? [] : round.splice(at, 1);
    const found = victim?.pick(processes);
    if (victim === undefined || found === undefined) continue;
    if (killNow(found)) killed.push(victim.name);
    // It had ended by itself: it has another turn.
    else round.push(victim);
  }
}
