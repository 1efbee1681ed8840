import { describe, expect, test } from "vitest";
import { messageOf } from "#lib/errors";
import { violations } from "./invariants.ts";
import { numbers, type Plan, Simulation } from "./simulation.ts";

/** Plays a plan to its end and says what is wrong. The seed is all that is needed to see it again. */
async function play(plan: Plan): Promise<{ wrong: string[]; simulation: Simulation }> {
  const simulation = new Simulation(plan);
  await simulation.run();
  const events = simulation.branches.flatMap((branch) =>
    simulation.journal.read("s", branch).filter(({ branch_id }) => branch_id === branch),
  );
  const { tools, approvals, promises } = simulation;
  const wrong = violations({ events, tools, approvals, promises });
  const { live, replayed } = await simulation.states();
  if (JSON.stringify(live) !== JSON.stringify(replayed)) wrong.push("the replayed state is another one");
  return { wrong, simulation };
}

const schedules = 1_000;

describe("whatever happens", () => {
  test("in good weather nothing is wrong", async () => {
    for (let seed = 1; seed <= 100; seed += 1) {
      const { wrong } = await play({ seed, crashes: [], trouble: 0 });
      expect(wrong, `seed ${seed}`).toEqual([]);
    }
  });

  test(`${schedules} schedules of crashes, losses, repetitions and disorder`, async () => {
    const reached = {
      effects: 0,
      approved: 0,
      interrupted: 0,
      cancelled: 0,
      tripped: 0,
      expired: 0,
      withdrawn: 0,
      forks: 0,
    };
    const count = ({ journal, tools, branches }: Simulation) => {
      const text = JSON.stringify(branches.map((branch) => journal.read("s", branch)));
      reached.forks += branches.length - 1;
      const times = (pattern: RegExp) => text.match(pattern)?.length ?? 0;
      const states = [...tools.ledger.values()].map(({ state }) => state);
      reached.effects += tools.effects.length;
      reached.interrupted += states.filter((state) => state === "interrupted").length;
      reached.withdrawn += states.filter((state) => state === "withdrawn").length;
      reached.approved += times(/"decision":"approved"/g);
      reached.expired += times(/"decision":"timeout"/g);
      reached.cancelled += times(/"reason":"cancelled: /g);
      reached.tripped += times(/"type":"CircuitBreakerTripped"/g);
    };
    for (let seed = 1; seed <= schedules; seed += 1) {
      const random = numbers(seed);
      const crashes = Array.from({ length: Math.floor(random() * 5) }, () => Math.floor(random() * 400)).sort(
        (a, b) => a - b,
      );
      const { wrong, simulation } = await play({ seed, crashes, trouble: random() * 0.15, forks: seed % 10 === 0 });
      expect(wrong, `seed ${seed}`).toEqual([]);
      count(simulation);
    }
    // The schedules do reach what they are made for.
    for (const [what, times] of Object.entries(reached)) expect(times, what).toBeGreaterThan(0);
  });

  test("a crash at every event", async () => {
    let plays = 0;
    for (const seed of [3, 5, 8, 11, 12, 17]) {
      const { simulation } = await play({ seed, crashes: [], trouble: 0 });
      for (let at = 0; at < simulation.events; at += 1) {
        const { wrong } = await play({ seed, crashes: [at], trouble: 0 });
        expect(wrong, `seed ${seed}, crash at ${at}`).toEqual([]);
        plays += 1;
      }
    }
    expect(plays).toBeGreaterThan(1_000);
  });
});

/** Seeds that are tried until a sabotage shows. */
const seedsMax = 300;

async function found(sabotage: NonNullable<Plan["sabotage"]>, crashes: readonly number[]): Promise<string> {
  for (let seed = 1; seed <= seedsMax; seed += 1) {
    try {
      const { wrong } = await play({ seed, crashes, trouble: 0.05, sabotage });
      if (wrong[0] !== undefined) return wrong.join("; ");
    } catch (error) {
      return messageOf(error);
    }
  }
  return "nothing";
}

describe("the simulation notices", () => {
  test("tools that run a call as often as they are asked", async () => {
    const sabotage: Plan["sabotage"] = (ports, { tools: { ledger } }) => ({
      ...ports,
      tools: {
        ...ports.tools,
        fate: async () => ({ state: "absent" }),
        execute: (request, signal) => {
          ledger.delete(request.call.call_id);
          return ports.tools.execute(request, signal);
        },
      },
    });
    expect(await found(sabotage, [60, 120])).toMatch(/the effect of \S+ is there twice/);
  });

  test("a gate that lets everything through", async () => {
    const sabotage: Plan["sabotage"] = (ports) => ({
      ...ports,
      gate: {
        ...ports.gate,
        evaluate: async (_session, requested) => ({ allowed: requested, requires_approval: [], denied: [] }),
      },
    });
    expect(await found(sabotage, [])).toMatch(/took effect, and never is denied|was not approved/);
  });

  test("a gate that is shown only what the model asks for", async () => {
    const sabotage: Plan["sabotage"] = (ports) => ({
      ...ports,
      tools: {
        ...ports.tools,
        requirements: async (call) => ({ ...(await ports.tools.requirements(call)), capabilities: [] }),
      },
    });
    expect(await found(sabotage, [])).toContain("the gate was not shown");
  });

  test("a journal that loses what it acknowledged", async () => {
    const sabotage: Plan["sabotage"] = (ports) => ({
      ...ports,
      journal: {
        ...ports.journal,
        append: (event) =>
          event.kind.type === "ApprovalResolved" ? Promise.resolve(event) : ports.journal.append(event),
      },
    });
    expect(await found(sabotage, [])).toMatch(/was acknowledged and is lost|no end after/);
  });
});
