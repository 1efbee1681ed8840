import { execFileSync } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { resolve } from "node:path";
import { messageOf } from "#lib/errors";
import { imageSettings } from "../../image/image.ts";
import { tellBuild } from "../../image/progress/index.ts";
import { type Accelerator, hostAccelerator } from "../accelerator.ts";
import type { Bench } from "./bench.ts";
import { bootBench } from "./boot.ts";
import { compareBench } from "./compare.ts";
import { faultsBench } from "./faults.ts";
import { goalsBench } from "./goals.ts";
import { idleBench } from "./idle.ts";
import { inferenceBench } from "./inference/inference.ts";
import { memoryBench } from "./memory/memory.ts";
import { orchestrationBench } from "./orchestration.ts";
import { imagesOf } from "./reference.ts";
import { rowOf, tableOf } from "./row.ts";
import { soakBench } from "./soak.ts";
import { toolsBench } from "./tools/tools.ts";

const benches: Readonly<Record<string, Bench>> = {
  boot: bootBench,
  goals: goalsBench,
  orchestration: orchestrationBench,
  tools: toolsBench,
  memory: memoryBench,
  inference: inferenceBench,
  soak: soakBench,
  idle: idleBench,
  compare: compareBench,
  faults: faultsBench,
};

const help = `Measures. One JSON row a line on standard output, a table on standard error; status 1 when a budget is exceeded.

  npm run bench -- NAME [OPTION]

  boot       the timeline of the native and the QEMU lane, memory, image sizes, the time of a rebuild
  goals      twenty goals on a native machine: done, refused, failed, with time, tool calls and tokens of each
  tools      calls through the whole pipeline, against a bare handler and an MCP file-system server;
             with --calls N instead the daemon's memory over N calls, and calls beside a verification
  inference  tokens per second, first token, streams and reuse, against node-llama-cpp in a bare process and
             llama.cpp's server where one is installed; --gpu: on the GPU
  soak       two minutes of mixed calls, cancelled streams and reloads: memory, and that no sequence is stuck
  memory     events, durable writes, the journal, a start with 1 GB, search and context, against the bare libraries;
             the names of parts choose some of them
  idle       what a machine that nobody asks anything writes and burns; --minutes N (5)
  compare    REF NAME: another commit's measures and this tree's by turns, and their ratios; --rounds N (3)
  faults     campaigns of faults on machines of their own: kill, power, corrupt, disk, clock, flood, fuzz;
             the names of some choose them; --seed N repeats one, --count N bounds it

Examples:
  npm run bench -- boot
  npm run bench -- goals
  npm run bench -- tools
  npm run bench -- tools --calls 1000000
  npm run bench -- memory
  npm run bench -- memory store journal
  npm run bench -- inference --gpu
  npm run bench -- compare HEAD~3 tools
  npm run --silent bench -- boot > rows.jsonl
`;

async function main(name: string | undefined, given: readonly string[]): Promise<number> {
  if (name === undefined || name === "--help") {
    console.log(help);
    return name === undefined ? 2 : 0;
  }
  const bench = benches[name];
  if (bench === undefined)
    throw new Error(`bench ${name}: no such benchmark; there are ${Object.keys(benches).join(", ")}`);
  const own = resolve(import.meta.dirname, "../..");
  // compare measures another checkout by a benchmark that it lacks.
  const at = given.indexOf("--tree");
  const repository = at < 0 ? own : resolve(given[at + 1] ?? own);
  const words = at < 0 ? given : given.toSpliced(at, 2);
  const settings = imageSettings(process.env);
  const say = (line: string) => console.error(line);
  let images: ReturnType<typeof imagesOf> | undefined;
  const built = () => {
    images ??= imagesOf(repository, own, settings, tellBuild(process.stderr));
    return images;
  };
  const accelerator = await hostAccelerator(settings.cache, Date.now());
  const searchPath = process.env["PATH"] ?? "";
  const { cache } = settings;
  const measures = await bench({ repository, images: built, cache, words, searchPath, accelerator, say });
  const commit = execFileSync("git", ["-c", "safe.directory=*", "describe", "--always", "--dirty"], {
    cwd: repository,
    encoding: "utf8",
  }).trim();
  const rows = measures.map((measure) => rowOf(name, measure, commit, machineName(accelerator)));
  for (const row of rows) console.log(JSON.stringify(row));
  if (rows.length > 0) say(`\n${tableOf(rows)}`);
  return rows.every(({ ok }) => ok !== false) ? 0 : 1;
}

/** "2 x AMD EPYC, 23 GiB, tcg" */
function machineName(accelerator: Accelerator): string {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  return `${cpus().length} x ${model}, ${Math.floor(totalmem() / 1024 ** 3)} GiB, ${accelerator}`;
}

process.exitCode = await main(process.argv[2], process.argv.slice(3)).catch((error: unknown) => {
  console.error(messageOf(error));
  return 1;
});
