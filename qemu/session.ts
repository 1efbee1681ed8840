import { chownSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AiosError, messageOf } from "#lib/errors";
import { othersThan, readMachines, rememberMachine, writeMachines } from "#lib/identity/machines";
import { consoleLines } from "#manifest";
import { InitService } from "#proto/aios/init";
import type { Accelerator } from "./accelerator.ts";
import { lockFolder } from "./disks.ts";
import { followGoal, type GoalOutcome, goalOutcome, showGoal, submitGoal } from "./goal.ts";
import type { Images } from "./images.ts";
import { type Lane, type Machine, startMachine } from "./machine.ts";
import { bootReport, showReport } from "./report.ts";

/** What `npm run up` was asked to do. */
interface UpOptions {
  readonly lane: Lane;
  readonly goal: string | undefined;
  readonly untilAutonomy: boolean;
  readonly json: boolean;
  readonly fresh: boolean;
  readonly memoryMiB: number;
  readonly cpus: number;
}

/** The host as a session sees it. */
interface Host {
  readonly images: Images;
  readonly accelerator: Accelerator;
  /** Folder of machines: each lane has its own below. */
  readonly machines: string;
  readonly operatorFolder: string;
  /** Progress, for a person. */
  readonly say: (line: string) => void;
  /** Results. */
  readonly print: (text: string) => void;
  /** Aborted when the session is to end; the machine is then powered off. */
  readonly stop: AbortSignal;
  /** Aborted when it is to end at once; the machine is then cut off. */
  readonly stopNow: AbortSignal;
}

/** How long a boot may take before it counts as failed. */
const bootTimeoutMs = { native: 60_000, kvm: 60_000, tcg: 240_000 } as const;
/** A degraded machine may still become autonomous: a unit that failed is started again. */
const recoverTimeoutMs = 20_000;
const goalTimeoutMs = 600_000;
const reachTimeoutMs = 60_000;

/** Boots a machine, does what was asked, and powers it off. Returns the exit status: 0 when all of it succeeded. */
export async function session(options: UpOptions, host: Host): Promise<number> {
  const { lane, memoryMiB, cpus } = options;
  const folder = join(host.machines, lane);
  const unlock = lockFolder(folder);
  try {
    if (options.fresh)
      for (const name of ["data", "data.ext4", "data.raw", "disk.raw"])
        rmSync(join(folder, name), { recursive: true, force: true });
    const { images, operatorFolder, accelerator } = host;
    host.say(`booting the ${lane} lane${lane === "native" ? "" : ` (QEMU, ${accelerator})`}`);
    const name = nameIn(lane);
    const dhcp = lane === "firmware";
    const machine = await startMachine({
      lane,
      images,
      folder,
      operatorFolder,
      accelerator,
      name,
      memoryMiB,
      cpus,
      dhcp,
    });
    remember(machine, host.operatorFolder);
    host.stopNow.addEventListener("abort", () => machine.cut(), { once: true });
    machine.console.follow(({ text, atMs }) => host.say(`${(atMs / 1000).toFixed(2).padStart(7)}  ${text}`));
    try {
      return await withMachine(machine, options, host);
    } finally {
      await end(machine, host);
    }
  } finally {
    unlock();
  }
}

async function withMachine(machine: Machine, options: UpOptions, host: Host): Promise<number> {
  const stopped = new Promise<"stopped">((resolve) => {
    if (host.stop.aborted) resolve("stopped");
    host.stop.addEventListener("abort", () => resolve("stopped"), { once: true });
  });
  const boot = await Promise.race([booted(machine), stopped]);
  if (boot === "stopped") return 130;
  const autonomous = boot === "autonomous";
  if (!autonomous) for (const fault of await faults(machine)) host.say(`fault: ${fault}`);
  const asked = options.untilAutonomy || options.goal !== undefined;
  if (asked) return autonomous ? Promise.race([answer(machine, options, host), stopped.then(() => 130)]) : 1;
  howToReach(machine, host);
  const outcome = await Promise.race([machine.ended, stopped]);
  if (outcome !== "stopped") host.say("the machine has ended");
  return 0;
}

/** Waits until the machine says what it is, and until port 9090 answers. */
async function booted(machine: Machine): Promise<"autonomous" | "degraded"> {
  const timeoutMs = bootTimeoutMs[machine.accelerator as keyof typeof bootTimeoutMs];
  const either = new RegExp(`${consoleLines.ready}|${consoleLines.degraded}`);
  const line = await machine.waitFor(either, timeoutMs);
  await machine.reached(reachTimeoutMs);
  if (line.text.includes(consoleLines.ready)) return "autonomous";
  try {
    await machine.waitFor(consoleLines.ready, recoverTimeoutMs);
    return "autonomous";
  } catch (error) {
    if (error instanceof AiosError && error.code === "DEADLINE_EXCEEDED") return "degraded";
    throw error;
  }
}

/** What --until and --goal ask for: the figures, the goal's outcome, or both; one JSON document with --json. */
async function answer(machine: Machine, options: UpOptions, host: Host): Promise<number> {
  const goal = options.goal === undefined ? undefined : await pursue(machine, options.goal, host);
  const wantsReport = options.untilAutonomy || options.json;
  const report = wantsReport ? await bootReport(machine, host.images.bytes) : undefined;
  if (options.json) host.print(JSON.stringify({ ...report, ...(goal && { goal }) }));
  else {
    if (report !== undefined) host.print(showReport(report));
    if (goal !== undefined) host.print(showGoal(goal));
  }
  return goal === undefined || (goal.status === "completed" && goal.ledger.valid) ? 0 : 1;
}

async function pursue(machine: Machine, description: string, host: Host): Promise<GoalOutcome> {
  const id = await submitGoal(machine, description);
  host.say(`goal ${id} accepted: ${description}`);
  const status = await followGoal(machine, id, goalTimeoutMs, ({ agent, tool, status, error }) =>
    host.say(`goal: ${agent || "nobody"} ${tool} ${status}${error === "" ? "" : `: ${error}`}`),
  );
  return goalOutcome(machine, status);
}

async function faults(machine: Machine): Promise<readonly string[]> {
  const init = machine.client(InitService);
  try {
    return (await init.getBoot({})).faults;
  } catch (error) {
    return [messageOf(error)];
  } finally {
    init.close();
  }
}

/** Makes a machine the one that `aiosctl` speaks to, for as long as this process runs it. */
export function remember(
  { name, target, lane }: Pick<Machine, "name" | "target" | "lane">,
  operatorFolder: string,
): void {
  const command = lane === "qemu" ? "npm run up" : `npm run up -- --lane ${lane}`;
  const up = { process: process.pid, command };
  rememberMachine(operatorFolder, name, { address: target, name, identity: ".", up });
  writeMachines(operatorFolder, { ...readMachines(operatorFolder), default: name });
  // Under sudo the file would belong to root, and its user could not read it.
  const { uid, gid } = statSync(operatorFolder);
  chownSync(join(operatorFolder, "machines.toml"), uid, gid);
}

/** What a machine of `up` is called. */
const nameIn = (lane: Lane) => `aios-${lane}`;

function howToReach(machine: Machine, { operatorFolder, say }: Host): void {
  const others = othersThan(machine.name, readMachines(operatorFolder));
  say("");
  say(`It is reached at ${machine.target}, as ${machine.name}, and is the one that aiosctl speaks to now:`);
  say("  npm run aiosctl -- status");
  say('  npm run aiosctl -- goal submit "report disk usage to /var/lib/aios/reports/disk.txt"');
  if (others.length > 0) say(`Others are ${others.join(", ")}: npm run aiosctl -- machines use NAME`);
  say("Ctrl-C powers it off; a second Ctrl-C cuts it off.");
}

async function end(machine: Machine, { say, stopNow }: Host): Promise<void> {
  const running = await Promise.race([machine.ended.then(() => false), delay(0, true)]);
  if (!running) return;
  if (stopNow.aborted) return machine.cut();
  say("powering off");
  try {
    await machine.powerOff();
  } catch (error) {
    say(`${messageOf(error)}; cutting it off`);
    await machine.cut();
  }
}
