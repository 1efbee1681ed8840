import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { connect } from "#lib/rpc/client";
import { compiled } from "#lib/testing/compiled";
import { openPeer } from "#lib/testing/sockets";
import { GoalRecord, MemoryServiceService, TaskRecord } from "#proto/aios/memory";

const rounds = 10;
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let folder: string;
let daemon: ChildProcess;
let lines: string[] = [];

/** The daemon itself, as the machine runs it, but for its folders. */
beforeAll(() => {
  folder = mkdtempSync("/tmp/aios-crash-");
  for (const name of ["run", "state"]) mkdirSync(join(folder, name));
  const config = {
    system: {},
    memory: {
      operational_max_entries: 100,
      working_db: join(folder, "state/memory/working.db"),
      longterm_db: join(folder, "state/memory/longterm.db"),
      vector_db: join(folder, "state/vectors"),
    },
  };
  writeFileSync(join(folder, "run/config.json"), JSON.stringify(config));
});
afterAll(async () => {
  daemon.kill("SIGKILL");
  await exit(daemon);
  rmSync(folder, { recursive: true });
});

function start(): void {
  openPeer(join(folder, "run"), "memory", "orchestrator");
  lines = [];
  const env = {
    ...compiled,
    AIOS_RUN_DIR: join(folder, "run"),
    AIOS_STATE_DIR: join(folder, "state"),
    AIOS_LIB_DIR: join(folder, "lib"),
  };
  daemon = spawn(process.execPath, [here("main.ts")], { env, stdio: ["ignore", "ignore", "pipe"] });
  daemon.stderr?.on("data", (chunk) => lines.push(String(chunk)));
}

const exit = (child: ChildProcess) =>
  child.exitCode !== null || child.signalCode !== null
    ? undefined
    : new Promise((resolve) => child.once("exit", resolve));
const socket = () => `unix:${openPeer(join(folder, "run"), "memory", "orchestrator")}`;
const goalId = (round: number) => `goal-${round}`;

/** Writes tasks until the daemon is killed; returns the ids of those that were acknowledged. */
async function writeUntilKilled(round: number): Promise<string[]> {
  const memory = connect(MemoryServiceService, socket());
  const acknowledged: string[] = [];
  const enough = 1 + Math.random() * 40;
  // The one that runs now: a timer that fires late must not kill the next.
  const victim = daemon;
  try {
    await memory.storeGoal(GoalRecord.fromPartial({ id: goalId(round), status: "in_progress" }));
    const writer = async (lane: number) => {
      for (let at = 0; ; at++) {
        const id = `${round}-${lane}-${at}`;
        await memory.storeTask(
          TaskRecord.fromPartial({ id, goalId: goalId(round), status: "pending", inputJson: Buffer.from("{}") }),
        );
        acknowledged.push(id);
        if (acknowledged.length > enough) setTimeout(() => victim.kill("SIGKILL"), Math.random() * 4);
      }
    };
    await Promise.allSettled([0, 1, 2, 3].map(writer));
  } finally {
    memory.close();
  }
  return acknowledged;
}

async function ready(): Promise<void> {
  while (!lines.some((line) => line.includes('"msg":"ready"'))) {
    if (daemon.exitCode !== null || daemon.signalCode !== null) throw new Error(`aios-memory ended: ${lines.join("")}`);
    await systemClock.sleep(5);
  }
}

it("keeps every acknowledged write over SIGKILL at random moments", async () => {
  const acknowledged = new Map<number, string[]>();
  for (let round = 0; round < rounds; round++) {
    start();
    await ready();
    acknowledged.set(round, await writeUntilKilled(round));
    await exit(daemon);
  }
  start();
  await ready();
  const memory = connect(MemoryServiceService, socket());
  for (const [round, ids] of acknowledged) {
    const { tasks } = await memory.getTasksForGoal({ goalId: goalId(round) });
    expect(tasks.map(({ id }) => id)).toEqual(expect.arrayContaining(ids));
  }
  memory.close();
  expect([...acknowledged.values()].flat().length).toBeGreaterThan(rounds);
  daemon.kill("SIGKILL");
  await exit(daemon);
  const file = new Database(join(folder, "state/memory/working.db"));
  expect(file.pragma("integrity_check", { simple: true })).toBe("ok");
  expect(file.pragma("foreign_key_check")).toEqual([]);
  file.close();
});

it("ends in order at SIGTERM, also while its vector server has not started yet", async () => {
  start();
  await ready();
  daemon.kill("SIGTERM");
  await exit(daemon);
  expect(daemon.exitCode).toBe(0);
});
