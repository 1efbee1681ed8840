import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { messageOf } from "#lib/errors";
import { daemons, users } from "#manifest";
import { InitService } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { verifyLedger } from "../goal.ts";
import { probe } from "../goals/probe.ts";
import type { Machine } from "../machine.ts";
import type { MachineProcess } from "../native-processes.ts";
import { allAgents, expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

const goalsCount = 50;
const killEveryMs = 2_000;
const submitEveryMs = 1_000;
/** Restarts, retries and their pauses included. */
const endsWithinMs = 240_000;
/** What draws the victims, another in each run; a run that failed is repeated with AIOS_CHAOS_SEED. */
const seed = Number(process.env["AIOS_CHAOS_SEED"] ?? randomInt(2 ** 31));

const file = "/srv/chaos/lines.txt";

describe.runIf(laneRuns("native"))("chaos", () => {
  const fleet = useFleet();
  const ids = new Map<string, string>();
  const killed: string[] = [];
  let machine: Machine;

  it("boots", async () => {
    machine = await fleet.boot({ lane: "native", name: "chaos" });
    await expectAllAgents(machine);
    const look = probe(machine);
    await look.call("fs.write", { path: file, content: "" });
    look.close();
  });

  it(`${goalsCount} goals end while daemons and agents are killed every two seconds`, async () => {
    const stop = new AbortController();
    const victims = await victimsOf(machine);
    const killing = killUntil(machine, victims, stop.signal, killed);
    try {
      for (let at = 0; at < goalsCount; at += 1) {
        ids.set(await patiently(() => submitOnce(machine, at)), lineOf(at));
        await delay(submitEveryMs);
      }
      const open = async () => [...(await states(machine, ids.keys())).values()].filter((state) => !isOver(state));
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
    const look = probe(machine);
    const lines = (await look.content(file)).split("\n").filter((line) => line !== "");
    look.close();
    expect(lines.toSorted()).toEqual([...new Set(lines)].toSorted());
    const ends = await states(machine, ids.keys());
    const done = [...ids].flatMap(([id, line]) => (ends.get(id) === "completed" ? [line] : []));
    expect(lines).toEqual(expect.arrayContaining(done));
    console.error(`chaos: ${done.length} of ${goalsCount} goals completed, ${lines.length} lines written`);
    // A call that was cut off in the middle is not repeated when nobody can tell whether it acted; most are not.
    expect(done.length, [...ends.values()].join(" ")).toBeGreaterThan(goalsCount / 2);
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

const lineOf = (at: number) => `line ${String(at).padStart(2, "0")}`;

const isOver = (state: string) => ["completed", "failed", "cancelled"].includes(state);

/** A goal is submitted under a key, so that one whose acknowledgement was lost is not there twice. */
async function submitOnce(machine: Machine, at: number): Promise<string> {
  const orchestrator = machine.client(OrchestratorService);
  try {
    const submission = {
      description: `append the line ${lineOf(at)} to ${file}`,
      ...{ priority: 2, source: "", tags: ["chaos"], metadataJson: Buffer.alloc(0), dependsOn: [] },
      dedupeKey: `chaos-${at}`,
    };
    return (await orchestrator.submitGoal(submission, { timeoutMs: 5_000 })).id;
  } finally {
    orchestrator.close();
  }
}

async function states(machine: Machine, ids: Iterable<string>): Promise<Map<string, string>> {
  const orchestrator = machine.client(OrchestratorService);
  try {
    const all = new Map<string, string>();
    for (const id of ids)
      all.set(id, (await orchestrator.getGoalStatus({ id }, { timeoutMs: 5_000 })).goal?.status ?? "");
    return all;
  } finally {
    orchestrator.close();
  }
}

/** What was killed is soon back. */
async function patiently<T>(act: () => Promise<T>): Promise<T> {
  const until = performance.now() + 60_000;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (performance.now() > until) throw error;
      await delay(250);
    }
  }
}

/** Something that can be killed: its name, and which of the machine's processes it is at present. */
interface Victim {
  readonly name: string;
  pick(processes: readonly MachineProcess[]): MachineProcess | undefined;
}

/** Every daemon, by the program that it runs, and each of the agents. */
async function victimsOf(machine: Machine): Promise<Victim[]> {
  const init = machine.client(InitService);
  const { units } = await init.listUnits({});
  init.close();
  const wordsOf = ({ argv }: MachineProcess) => argv.join(" ");
  const programs = new Map(machine.processes().map((one) => [one.pid, wordsOf(one)]));
  const own = units.filter(({ name }) => daemons.some((daemon) => daemon.name === name));
  return [
    ...own.map(({ name, pid }): Victim => {
      const program = programs.get(pid);
      return { name, pick: (all) => all.find((one) => wordsOf(one) === program) };
    }),
    ...allAgents.map((name): Victim => {
      const { uid } = accountOf(`aios-agent-${name}`);
      return { name, pick: (all) => all.find((one) => one.uid === uid && wordsOf(one).includes("agents.mjs")) };
    }),
  ];
}

function accountOf(user: string): { readonly uid: number } {
  const found = Object.entries(users).find(([name]) => name === user);
  if (found === undefined) throw new Error(`the manifest has no account ${user}`);
  return found[1];
}

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
    try {
      process.kill(found.hostPid, "SIGKILL");
      killed.push(victim.name);
    } catch {
      // It had ended by itself: it has another turn.
      round.push(victim);
    }
  }
}

/** In an order that is drawn. */
function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((one) => ({ one, drawn: random() }))
    .toSorted((a, b) => a.drawn - b.drawn)
    .map(({ one }) => one);
}

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
function drawing(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
