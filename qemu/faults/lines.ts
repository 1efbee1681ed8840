import { setTimeout as delay } from "node:timers/promises";
import { uuidOf } from "#lib/ids";
import { executionHeader } from "#lib/rpc/service";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { probe } from "../goals/probe.ts";
import type { Machine } from "../machine.ts";

/*
 * A load whose effects can be counted: goals that each append a line of their own to one file. A line that is there twice was
 * done twice; a goal that is called completed and whose line is not there was not done.
 */

const folder = "/srv/faults";

/** The file that the goals of one run append to. */
export const linesFile = `${folder}/lines.txt`;

export const lineOf = (at: number) => `line ${String(at).padStart(4, "0")}`;

const isOver = (state: string) => ["completed", "failed", "cancelled"].includes(state);

/** Makes the file. */
export async function beginLines(machine: Machine): Promise<void> {
  const look = probe(machine);
  await look.call("fs.write", { path: linesFile, content: "" });
  look.close();
}

/** Gives the goal of line `at` under an id, by which one whose acknowledgement was lost is given once. Resolves with the id. */
export async function submitLine(machine: Machine, at: number): Promise<string> {
  const orchestrator = machine.client(OrchestratorService);
  try {
    const submission = {
      description: `append the line ${lineOf(at)} to ${linesFile}`,
      ...{ priority: 2, source: "", tags: ["faults"], metadataJson: Buffer.alloc(0), dependsOn: [] },
      dedupeKey: "",
    };
    const headers = { [executionHeader]: uuidOf("faults", at) };
    return (await orchestrator.submitGoal(submission, { timeoutMs: 5_000, headers })).id;
  } finally {
    orchestrator.close();
  }
}

/** The status of goals, by their ids; "" for one that the machine does not know. */
export async function statesOf(machine: Machine, ids: Iterable<string>): Promise<Map<string, string>> {
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

/** Of these goals, those that have not ended. */
export const openOf = (states: ReadonlyMap<string, string>) => [...states.values()].filter((state) => !isOver(state));

/** What became of the lines: those that are there, those there more than once, those said to be done and not there. */
export async function countLines(machine: Machine, lineById: ReadonlyMap<string, string>) {
  // The states first: a goal that ends in between is there with its line, and not without.
  const states = await statesOf(machine, lineById.keys());
  const look = probe(machine);
  const lines = (await look.content(linesFile)).split("\n").filter((line) => line !== "");
  look.close();
  const done = [...lineById].flatMap(([id, line]) => (states.get(id) === "completed" ? [line] : []));
  return {
    lines,
    done,
    twice: lines.filter((line, at) => lines.indexOf(line) !== at),
    missing: done.filter((line) => !lines.includes(line)),
    lost: [...states.values()].filter((state) => state === "").length,
    states,
  };
}

/** Tries again until it works, for a minute at most: what was killed is soon back. */
export async function patiently<T>(act: () => Promise<T>, withinMs = 60_000): Promise<T> {
  const until = performance.now() + withinMs;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (performance.now() > until) throw error;
      await delay(250);
    }
  }
}
