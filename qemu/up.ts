import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "#lib/errors";
import { ensureOperatorIdentity, operatorFolder } from "#lib/identity/operator";
import { imageSettings, interrupted } from "../image/image.ts";
import type { Target } from "../image/plan.ts";
import { tellBuild } from "../image/progress/index.ts";
import { hostAccelerator } from "./accelerator.ts";
import { buildImages, direct } from "./images.ts";
import { type Lane, lanes } from "./machine.ts";
import { session } from "./session.ts";

const help = `Builds what is stale, boots a machine and shows its boot.

  npm run up -- [options]

  --lane ${lanes.join("|")}   where (default qemu)
                  native    the root file system in name spaces of this host, at native speed, without a kernel of ours; needs root
                  qemu      our kernel in QEMU
                  firmware  the flashable disk in QEMU, under OVMF
  --goal TEXT     submit this goal, follow it, print its outcome and trace, power off; status 1 when it failed
  --until autonomy  print the boot's figures and power off
  --json          one JSON document on standard output, nothing else there
  --fresh         forget the data of earlier runs
  --memory MIB    of the virtual machine (default 2048)
  --cpus N        of the virtual machine (default 2)
  --help

Without --goal and --until it stays attached until Ctrl-C, which powers the machine off.
Settings: AIOS_CACHE_DIR (default ~/.cache/aios), AIOS_CONFIG_DIR (default ~/.config/aios).

Examples:
  npm run up
  npm run up -- --lane native
  npm run up -- --goal "report disk usage to /var/lib/aios/reports/disk.txt"
  npm run --silent up -- --until autonomy --json
`;

/** What a lane boots. The native one has its host's kernel: of the longest step it needs nothing. */
const bootedIn: Readonly<Record<Lane, readonly Target[]>> = {
  native: ["root"],
  qemu: direct,
  firmware: [...direct, "disk"],
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      lane: { type: "string", default: "qemu" },
      goal: { type: "string" },
      until: { type: "string" },
      json: { type: "boolean", default: false },
      fresh: { type: "boolean", default: false },
      memory: { type: "string", default: "2048" },
      cpus: { type: "string", default: "2" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  if (values.until !== undefined && values.until !== "autonomy")
    throw new Error(`--until ${values.until}: expected autonomy`);
  const options = {
    lane: laneOf(values.lane),
    goal: values.goal,
    // A document needs an end: without a goal to wait for, it is autonomy.
    untilAutonomy: values.until !== undefined || (values.json && values.goal === undefined),
    json: values.json,
    fresh: values.fresh,
    memoryMiB: wholeNumber("--memory", values.memory, 512),
    cpus: wholeNumber("--cpus", values.cpus, 1),
  };
  const identity = operatorFolder(process.env);
  await ensureOperatorIdentity(identity);
  if (process.getuid?.() !== 0) return underSudo(identity);

  const signals = stopSignals();
  const settings = { ...imageSettings(process.env), stop: signals.stop };
  const say = (line: string) => console.error(line);
  const images = await buildImages(settings, tellBuild(process.stderr), bootedIn[options.lane]);
  const accelerator = options.lane === "native" ? "tcg" : await hostAccelerator(settings.cache, Date.now());
  const machines = join(settings.cache, "machines");
  const print = (text: string) => process.stdout.write(`${text}\n`);
  return session(options, { images, accelerator, machines, operatorFolder: identity, say, print, ...signals });
}

function laneOf(value: string): Lane {
  const lane = lanes.find((each) => each === value);
  if (lane === undefined) throw new Error(`--lane ${value}: expected ${lanes.join(", ")}`);
  return lane;
}

function wholeNumber(option: string, value: string, least: number): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < least)
    throw new Error(`${option} ${value}: expected a number from ${least}`);
  return number;
}

/** npm passes a Ctrl-C on that the terminal has already sent: what follows within this time is the same one. */
const sameInterruptMs = 500;

/** The first Ctrl-C (or TERM) asks for the end, another one for the end at once. */
function stopSignals(): { stop: AbortSignal; stopNow: AbortSignal } {
  const stop = new AbortController();
  const stopNow = new AbortController();
  let firstMs: number | undefined;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      firstMs ??= performance.now();
      stop.abort(interrupted());
      if (performance.now() - firstMs > sameInterruptMs) stopNow.abort();
    });
  }
  return { stop: stop.signal, stopNow: stopNow.signal };
}

/** Building and name spaces take root's rights; a user who has sudo need not type it. The identity stays the user's. */
function underSudo(identity: string): number {
  const names = ["HOME", "PATH", "AIOS_CACHE_DIR", "AIOS_MIRROR"];
  const kept = names.flatMap((name) => (process.env[name] === undefined ? [] : [`${name}=${process.env[name]}`]));
  const argv = ["env", ...kept, `AIOS_CONFIG_DIR=${identity}`, ...process.argv];
  const { status, error } = spawnSync("sudo", argv, { stdio: "inherit" });
  if (error !== undefined) throw new Error(`run as root: ${error.message}; run this command as root, or install sudo`);
  return status ?? 1;
}

process.exitCode = await main().catch((error: unknown) => {
  console.error(messageOf(error));
  return 1;
});
