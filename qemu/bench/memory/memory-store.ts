import { join } from "node:path";
import { openDatabase } from "#lib/data/sqlite";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { health } from "#lib/rpc/health";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, service } from "#lib/rpc/service";
import { Event, GoalRecord, MemoryServiceService, TaskRecord } from "#proto/aios/memory";
import { startMemory } from "../../memory-daemon.ts";
import { quantile, repeat } from "../repeat.ts";
import type { Measure } from "../row.ts";
import { fsyncTime, residentMb } from "../timing.ts";
import type { Part } from "./part.ts";

const pushBudget = 5_000;
const togetherBudget = 2_000;
/** The disk for which the budget of durable writes is stated. */
const fsyncOfBudgetMs = 1;

const inFlight = 64;

const event = (at: number) =>
  Event.fromPartial({
    id: `e${at}`,
    timestamp: Date.now(),
    category: "event",
    source: `source${at % 8}`,
    dataJson: Buffer.from(JSON.stringify({ at, text: "x".repeat(100) })),
  });
const task = (id: string) =>
  TaskRecord.fromPartial({
    id,
    goalId: "g",
    status: "pending",
    agent: "system",
    inputJson: Buffer.from(
      JSON.stringify({ tool: "fs.read", arguments: { path: "/etc/hosts" }, text: "x".repeat(200) }),
    ),
  });

/** Events, and durable writes one at a time and 64 in flight. */
export const storePart: Part = async ({ program, folder, say }) => {
  const disk = folder("store");
  const fsyncMs = fsyncTime(disk);
  const bare = await bareCalls(folder("bare"));
  const library = bareRows(folder("library"));
  const daemon = await startMemory(program, disk);
  try {
    const { memory } = daemon;
    await repeat(2_000, inFlight, (at) => memory.pushEvent(event(at)));
    const pushed = await repeat(30_000, inFlight, (at) => memory.pushEvent(event(at)));
    await memory.storeGoal(GoalRecord.fromPartial({ id: "g", status: "in_progress" }));
    const alone = await repeat(1_000, 1, (at) => memory.storeTask(task(`a${at}`)));
    await repeat(1_000, inFlight, (at) => memory.storeTask(task(`w${at}`)));
    const together = await repeat(20_000, inFlight, (at) => memory.storeTask(task(`t${at}`)));
    say(`bench: memory: ${round(pushed.perSecond)} events/s, ${round(together.perSecond)} durable tasks/s`);
    const { stores } = await daemon.admin.getStats({});
    const working = stores.find(({ name }) => name === "working");
    return [
      { name: "disk.fsync.p50", value: fsyncMs, unit: "ms" },
      { name: "push_event.64_in_flight", value: pushed.perSecond, unit: "per_s", budget: pushBudget },
      { name: "push_event.bare_grpc_64_in_flight", value: bare.perSecond, unit: "per_s" },
      { name: "store_task.alone.p50", value: quantile(alone.times, 0.5), unit: "ms" },
      { name: "store_task.alone", value: alone.perSecond, unit: "per_s" },
      { name: "store_task.bare_library_alone", value: library.alone.perSecond, unit: "per_s" },
      {
        name: "store_task.64_in_flight",
        value: together.perSecond,
        unit: "per_s",
        ...(fsyncMs <= fsyncOfBudgetMs && { budget: togetherBudget }),
      },
      { name: "store_task.64_in_flight.p99", value: quantile(together.times, 0.99), unit: "ms" },
      { name: "store_task.bare_library_groups_of_64", value: library.groups, unit: "per_s" },
      { name: "store_task.writes_of_a_commit", value: (working?.writes ?? 0) / (working?.commits ?? 1), unit: "count" },
      { name: "memory.after_50000_calls", value: residentMb(daemon.pid), unit: "MB" },
    ] satisfies Measure[];
  } finally {
    await daemon.kill("SIGTERM");
  }
};

const round = (value: number) => Math.round(value);

/** The same message to a handler that does nothing, in this process. */
async function bareCalls(folder: string): ReturnType<typeof repeat> {
  const state = health([]);
  const handlers = service(MemoryServiceService, { pushEvent: () => ({}) });
  const server = createServer([handlers, state.service], () => coreIdentity("orchestrator"), silentLog);
  const path = join(folder, "bare.sock");
  await listen(server, { path, identity: coreIdentity("orchestrator"), mode: 0o600 });
  const client = connect(MemoryServiceService, `unix:${path}`);
  try {
    await repeat(2_000, inFlight, (at) => client.pushEvent(event(at)));
    return await repeat(20_000, inFlight, (at) => client.pushEvent(event(at)));
  } finally {
    client.close();
    server.forceShutdown();
  }
}

/** The same rows by better-sqlite3 alone, durable: one to a commit, and 64 to a commit. */
function bareRows(folder: string): { readonly alone: { readonly perSecond: number }; readonly groups: number } {
  const schema =
    "CREATE TABLE tasks (id TEXT PRIMARY KEY, goal_id TEXT, status TEXT, agent TEXT, input_json BLOB) STRICT;";
  const database = openDatabase(join(folder, "bare.db"), [schema]);
  const insert = database.prepare("INSERT INTO tasks VALUES (?, ?, ?, ?, ?)");
  const put = (id: string) => {
    const { goalId, status, agent, inputJson } = task(id);
    insert.run(id, goalId, status, agent, inputJson);
  };
  const rate = (count: number, act: (at: number) => void, each = 1) => {
    const from = performance.now();
    for (let at = 0; at < count; at++) act(at);
    return ((count * each) / (performance.now() - from)) * 1_000;
  };
  const alone = rate(1_000, (at) => put(`a${at}`));
  const group = database.transaction((at: number) => {
    for (let one = 0; one < inFlight; one++) put(`g${at}-${one}`);
  });
  const groups = rate(300, (at) => group(at), inFlight);
  database.close();
  return { alone: { perSecond: alone }, groups };
}
