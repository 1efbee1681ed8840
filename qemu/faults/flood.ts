import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { submitGoal } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { atMost, type Campaign, counted } from "./campaign.ts";
import type { Strangers } from "./connections.ts";

/** The operator's next call, whatever else goes on. */
const nextCallMs = 1_000;
const goalsASecond = 60;
const warmUpMs = 5_000;
const floodMs = 20_000;
const settleMs = 60_000;
const refusedMs = 20_000;
const megabyte = 1_000_000;
/** What the machine's processes may hold more after a minute than before. */
const growthMb = 100;

/** Connections with and without certificates, slow ones, large messages, many goals: an operator is answered all the same. */
export const flood: Campaign = {
  summary: "connections with and without certificates, slow ones, 100 MB messages, 60 goals a second, natively",
  countDefault: 2_000,
  async run(ground) {
    const { boot, count = flood.countDefault, say } = ground;
    const machine = await boot({ lane: "native", name: "flood" });
    // A first flood, short: what is loaded and compiled when it is first needed stays, whatever comes.
    for (const act of Object.values(floods)) await act(machine, count, AbortSignal.timeout(warmUpMs));
    await delay(settleMs);
    const before = memoryMb(machine);
    const waits: number[] = [];
    const rows = [];
    for (const [name, act] of Object.entries(floods)) {
      const stop = new AbortController();
      const flooding = act(machine, count, stop.signal);
      const seen = await callsBeside(machine);
      stop.abort();
      const made = await flooding;
      waits.push(...seen);
      say(`faults: flood: ${name}: ${made} made; the operator's slowest call ${Math.max(...seen).toFixed(0)} ms`);
      rows.push(
        counted(`flood.${name}`, made, 1),
        atMost(`flood.${name}.next_call`, Math.max(...seen), nextCallMs, "ms"),
      );
    }
    await delay(settleMs);
    const after = memoryMb(machine);
    const grown = [...after].map(([name, mb]) => ({ name, mb: mb - (before.get(name) ?? 0) }));
    for (const { name, mb } of grown)
      if (mb > growthMb / 10) say(`faults: flood: ${name} holds ${mb.toFixed(0)} MB more than before`);
    const growth = grown.reduce((sum, { mb }) => sum + mb, 0);
    return [...rows, { name: "flood.memory_growth", value: growth, unit: "MB", budget: growthMb }];
  },
};

type Flood = (machine: Machine, count: number, stop: AbortSignal) => Promise<number>;

/** Connections that strangers hold, from a thread of their own, until they are told to stop; how many they made. */
const strangers =
  (kind: Strangers["kind"]): Flood =>
  async (machine, count, stop) => {
    const [host = "", port = ""] = machine.target.split(":");
    const workerData: Strangers = { kind, host, port: Number(port), count };
    const thread = new Worker(new URL("connections.ts", import.meta.url), { workerData });
    const made = once(thread, "message");
    stop.addEventListener("abort", () => thread.postMessage("stop"), { once: true });
    return (await made)[0];
  };

const floods: Readonly<Record<string, Flood>> = {
  silent: strangers("silent"),
  without_certificate: strangers("without_certificate"),
  slow: strangers("slow"),
  large_messages: async (machine, _count, stop) => {
    const tools = machine.client(ToolRegistryService);
    const inputJson = Buffer.alloc(100 * megabyte, "x");
    const request = { toolName: "fs.read", agentId: "", taskId: "", inputJson, reason: "flood" };
    let made = 0;
    while (!stop.aborted) {
      await tools.execute(request, { timeoutMs: 30_000, signal: stop }).catch(() => {});
      made++;
    }
    tools.close();
    return made;
  },
  goals: async (machine, _count, stop) => {
    let made = 0;
    const given: Promise<unknown>[] = [];
    while (!stop.aborted) {
      given.push(
        submitGoal(machine, `write flood ${made++} to /srv/flood.txt`).catch(() => {}),
        delay(1_000 / goalsASecond),
      );
      await given.at(-1);
    }
    await Promise.all(given);
    return made;
  },
};

/** The milliseconds of an operator's calls, each on a connection of its own, while something else goes on. A refusal counts 20 s. */
async function callsBeside(machine: Machine): Promise<number[]> {
  const times: number[] = [];
  const until = performance.now() + floodMs;
  while (performance.now() < until) {
    const orchestrator = machine.client(OrchestratorService);
    const at = performance.now();
    const refused = await orchestrator.listAgents({}, { timeoutMs: refusedMs }).then(
      () => false,
      () => true,
    );
    times.push(refused ? refusedMs : performance.now() - at);
    orchestrator.close();
    await delay(200);
  }
  return times;
}

/** What the machine's processes hold, by their programs, MB: pages that several share are counted in parts. */
function memoryMb(machine: Machine): Map<string, number> {
  const held = new Map<string, number>();
  for (const { argv, pssBytes } of machine.processes()) {
    const name = argv.find((word) => /\.[cm]js$/.test(word)) ?? argv[0] ?? "";
    held.set(name, (held.get(name) ?? 0) + pssBytes / megabyte);
  }
  return held;
}
