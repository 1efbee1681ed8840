import { statSync } from "node:fs";
import Database from "better-sqlite3";
import { startMemory, storesIn } from "../../memory-daemon.ts";
import { median, residentMb } from "../timing.ts";
import type { Part } from "./part.ts";

const readyBudgetMs = 300;
const gigabyte = 1_000_000_000;
const starts = 7;

/** Ready with 1 GB of what agents did, and what that takes of memory. */
export const startPart: Part = async ({ program, folder, say }) => {
  const disk = folder("start");
  const empty = await startMemory(program, disk);
  await empty.kill("SIGTERM");
  const { working } = storesIn(disk);
  fill(working);
  say(`bench: memory: a store of ${Math.round(statSync(working).size / 1_000_000)} MB`);
  const readyMs: number[] = [];
  let resident = 0;
  for (let at = 0; at < starts; at++) {
    const daemon = await startMemory(program, disk);
    readyMs.push(daemon.readyMs);
    const { toolCalls } = await daemon.query.listToolCalls({
      ...{ taskId: "", agent: "dev", toolName: "", success: undefined, since: 0, until: 0, limit: 1, cursor: "" },
    });
    if (toolCalls.length !== 1) throw new Error("the store is not the one that was filled");
    resident = residentMb(daemon.pid);
    // Killed, as after a crash: the next start has a log to go through.
    await daemon.kill(at % 2 === 0 ? "SIGKILL" : "SIGTERM");
  }
  return [
    { name: "start.empty", value: empty.readyMs, unit: "ms" },
    { name: "start.with_1_gb", value: median(readyMs), unit: "ms", budget: readyBudgetMs },
    { name: "start.with_1_gb.worst", value: Math.max(...readyMs), unit: "ms" },
    { name: "start.bare_library_open_1_gb", value: bareOpen(working), unit: "ms" },
    { name: "start.memory_with_1_gb", value: resident, unit: "MB" },
  ];
};

/** Tool calls up to 1 GB, quickly: this file need not survive a power cut. */
function fill(path: string): void {
  const database = new Database(path);
  database.pragma("synchronous = OFF");
  database.pragma("journal_mode = MEMORY");
  const insert = database.prepare("INSERT INTO tool_calls VALUES (?, ?, 'fs.read', ?, ?, ?, 1, 5, 'bench', ?)");
  const [input, output] = [Buffer.alloc(1_000, 0x20), Buffer.alloc(4_000, 0x20)];
  const now = Date.now();
  const some = database.transaction((from: number) => {
    for (let at = from; at < from + 5_000; at++)
      insert.run(`call-${at}`, `task-${at >> 3}`, at % 2 ? "dev" : "system", input, output, now - at);
  });
  const page = database.pragma("page_size", { simple: true }) as number;
  for (let at = 0; (database.pragma("page_count", { simple: true }) as number) * page < gigabyte; at += 5_000) some(at);
  database.pragma("journal_mode = WAL");
  database.close();
}

function bareOpen(path: string): number {
  const from = performance.now();
  const database = new Database(path);
  database.pragma("journal_mode = WAL");
  database.prepare("SELECT id FROM tool_calls WHERE agent = 'dev' ORDER BY timestamp DESC LIMIT 1").get();
  const took = performance.now() - from;
  database.close();
  return took;
}
