import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { configSchema, parseToml } from "#lib/config/config";
import { connect } from "#lib/rpc/client";
import { daemons, nodeArguments } from "#manifest";
import { GoalRecord, MemoryServiceService } from "#proto/aios/memory";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { HealthService, HealthCheckResponse_ServingStatus as Status } from "#proto/grpc/health/v1/health";
import { daemonSocket } from "./daemon-socket.ts";
import { quantile, repeat } from "./repeat.ts";
import type { Measure } from "./row.ts";

const finishedGoals = 10_000;
const pageSize = 50;
const pageBudgetMs = 50;
const startTimeoutMs = 60_000;

/** Pages of ten thousand finished goals, from the orchestrator over the memory, both as they ship and nothing else beside. */
export async function listingMeasures(
  repository: string,
  folder: string,
  say: (line: string) => void,
): Promise<Measure[]> {
  const run = join(folder, "run");
  const state = join(folder, "state");
  for (const path of [join(run, "agents"), join(state, "memory"), join(state, "vectors"), join(state, "orchestrator")])
    mkdirSync(path, { recursive: true });
  const file = join(repository, "rootfs/etc/aios/config.toml");
  const config = parseToml(configSchema, readFileSync(file, "utf8"), file);
  const memory = {
    ...config.memory,
    ...{ working_db: `${state}/memory/working.db`, longterm_db: `${state}/memory/longterm.db` },
    vector_db: `${state}/vectors`,
  };
  writeFileSync(join(run, "config.json"), JSON.stringify({ ...config, memory }));
  const env = { AIOS_RUN_DIR: run, AIOS_STATE_DIR: state, AIOS_ETC_DIR: join(folder, "etc"), AIOS_LOG_LEVEL: "error" };
  const started: ChildProcess[] = [];
  const sockets = {
    memory: daemonSocket(repository, run, "memory"),
    orchestrator: daemonSocket(repository, run, "orchestrator"),
  };
  const start = async (name: keyof typeof sockets) => {
    const told = daemons.filter((daemon) => daemon.name === name).flatMap(nodeArguments);
    const child = spawn(process.execPath, [...told, join(repository, `daemons/${name}/main.ts`)], {
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...env },
      stdio: ["ignore", "ignore", "ignore"],
    });
    started.push(child);
    await serving(`unix:${sockets[name]}`, child);
  };
  try {
    await start("memory");
    await fill(`unix:${sockets.memory}`);
    await start("orchestrator");
    return await pages(`unix:${sockets.orchestrator}`, say);
  } finally {
    await Promise.all(started.map(end));
  }
}

/** Goals as the orchestrator stores them once they are over. */
async function fill(target: string): Promise<void> {
  const memory = connect(MemoryServiceService, target);
  const plan = { origin: "procedure disk-report", level: "reactive", model: "", why: "the goal reads so", round: 0 };
  const metadata = { source: "operator:bench", tags: [], metadata: {}, plan: { ...plan, parameters: {}, result: "" } };
  const metadataJson = Buffer.from(JSON.stringify({ ...metadata, questions: [], decisions: [] }));
  await repeat(finishedGoals, 32, async (at) => {
    const id = `00000000-0000-7000-8000-${String(at).padStart(12, "0")}`;
    const times = { createdAt: 1_700_000_000_000 + at, completedAt: 1_700_000_001_000 + at };
    const description = `report disk usage to /var/lib/aios/reports/${at}.txt`;
    const record = { id, description, status: "completed", priority: 2, ...times, result: "Wrote it.", metadataJson };
    await memory.storeGoal(GoalRecord.fromPartial(record), { timeoutMs: 60_000 });
  });
  memory.close();
}

async function pages(target: string, say: (line: string) => void): Promise<Measure[]> {
  const orchestrator = connect(OrchestratorService, target);
  const times: number[] = [];
  const seen = new Set<string>();
  const page = async (offset: number, cursor: string) => {
    const from = performance.now();
    const answer = await orchestrator.listGoals({ statusFilter: "completed", limit: pageSize, offset, cursor });
    return { answer, ms: performance.now() - from };
  };
  for (let cursor: string | undefined; cursor !== ""; ) {
    const { answer, ms } = await page(0, cursor ?? "");
    times.push(ms);
    for (const { id } of answer.goals) seen.add(id);
    cursor = answer.nextCursor;
  }
  const jump = await page(finishedGoals - pageSize, "");
  orchestrator.close();
  if (seen.size !== finishedGoals) throw new Error(`${seen.size} of ${finishedGoals} goals were listed`);
  const last = times.at(-1) ?? 0;
  const sorted = times.toSorted((a, b) => a - b);
  say(
    `bench: a page of ${pageSize} goals in ${quantile(sorted, 0.5).toFixed(1)} ms, the last in ${last.toFixed(1)} ms`,
  );
  return [
    { name: "list.page.p50", value: quantile(sorted, 0.5), unit: "ms" },
    { name: "list.page.p99", value: quantile(sorted, 0.99), unit: "ms", budget: pageBudgetMs },
    { name: "list.last_page", value: last, unit: "ms", budget: pageBudgetMs },
    { name: "list.last_page_by_offset", value: jump.ms, unit: "ms" },
  ];
}

async function serving(target: string, child: ChildProcess): Promise<void> {
  const health = connect(HealthService, target);
  const until = performance.now() + startTimeoutMs;
  try {
    for (;;) {
      const answer = await health.check({ service: "" }, { timeoutMs: 1_000 }).catch(() => undefined);
      if (answer?.status === Status.SERVING) return;
      if (child.exitCode !== null || performance.now() > until) throw new Error(`nothing answers at ${target}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    health.close();
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
