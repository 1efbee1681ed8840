import { dirname } from "node:path";
import type { Clock } from "#lib/clock";
import { replaceFile } from "#lib/data/files";
import { type Group, openGroups } from "#lib/linux/cgroups";
import { daemons, layout } from "#manifest";
import { type Children, commandRunner, openChildren, openFaults, openSyscalls, readText } from "./base/index.ts";
import {
  type Boot,
  type BootNeeds,
  bootId,
  bootPhases,
  openBoot,
  type Prepared,
  type PrepareNeeds,
  prepare,
  reportUnits,
} from "./boot/index.ts";
import { mountKernelFiles } from "./disks/index.ts";
import { parseCmdline, type Screen } from "./early/index.ts";
import { listNics } from "./hardware/index.ts";
import { type Logs, openLogs } from "./logs/index.ts";
import type { Network } from "./network/index.ts";
import {
  armWatchdog,
  keepReaping,
  listenForPower,
  listenForPowerButton,
  type Power,
  watchDataVolume,
} from "./power/index.ts";
import { bootClock, keepClock } from "./time/index.ts";
import { type Managed, machineWorld, openManaged, type ServiceSpec, Supervisor, watchDaemons } from "./units/index.ts";

export interface Start {
  /** The command line of the native lane; undefined on a machine, which has the kernel's. */
  readonly native: string | undefined;
  readonly firstJavascriptMs: number;
  readonly screen: Screen;
}

/** Everything that lives as long as the machine. */
interface Parts extends PrepareNeeds {
  readonly logs: Logs;
  readonly children: Children;
  readonly boot: Boot;
  readonly power: Power;
  /** By unit. */
  readonly groups: Map<string, Group>;
}

/** Makes a machine of what the kernel started: the ground, then the units, then the boot's phases as they come. */
export function startMachine(start: Start): void {
  const parts = openParts(start);
  const ground = prepare(parts);
  const running = ground.then((made) => runUnits(made, parts));
  const hardware = { name: "hardware", run: async () => void (await ground) };
  const booted = parts.boot.run([hardware, ...bootPhases(running)]);
  booted.catch((error: unknown) => parts.screen.fault("boot", error));
  // What people have added comes after the machine itself: no boot is slower for it.
  Promise.all([running, booted])
    .then(([{ managed }]) => managed.startEnabled())
    .catch((error: unknown) => parts.screen.fault("start services", error));
  Promise.all([ground, running.then(({ network }) => network), Promise.race([booted, parts.clock.sleep(clockAfterMs)])])
    .then(([made, network]) => keepClock({ ...parts, ...made, network }))
    .catch((error: unknown) => parts.screen.fault("keep the clock", error));
}

/** Time servers are asked when the boot has run, or this long after it began. */
const clockAfterMs = 30_000;

function openParts({ native, firstJavascriptMs, screen }: Start): Parts {
  const syscalls = openSyscalls();
  mountKernelFiles(native === undefined ? "machine" : "native", syscalls);
  const cmdline = parseCmdline(native ?? readText("/proc/cmdline"));
  const clock = bootClock(cmdline.kernelStartMs);
  const logs = openLogs(clock);
  screen.onLine((line) => logs.write("init", `${line}\n`));
  const children = openChildren();
  const faults = openFaults();
  const release = JSON.parse(readText(layout.lib, "release.json") || "{}") as Partial<Release>;
  const madeMs = release.committedAt ?? 0;
  const id = bootId(Math.max(clock.now(), madeMs), readText("/proc/sys/kernel/random/uuid"));
  const facts = { id, version: release.version ?? "unknown", firstJavascriptMs, names: phaseNames };
  const groups = new Map<string, Group>();
  const boot: Boot = openBoot(facts, faults, screen, clock, () => markGood(boot, groups, clock.now()));
  const power = listenForPower({ screen, clock, syscalls, logs, faults, machine: cmdline.lane === "machine" });
  keepReaping(children, syscalls);
  const done = (step: string) => {
    const [wall, cpu] = [Math.round(clock.monotonic()), usedMs()];
    logs.write("init", `aios-init: ${step}: done after ${wall} ms, ${cpu} ms of processor\n`);
  };
  const command = commandRunner(children);
  done("kernel file systems");
  return { cmdline, syscalls, command, faults, screen, clock, madeMs, logs, children, boot, power, groups, done };
}

/** The image's own version. */
interface Release {
  readonly version: string;
  readonly committedAt: number;
}

const phaseNames = ["hardware", "runtime", "core", "agents", "recovery"] as const;

interface Units extends BootNeeds {
  readonly managed: Managed;
  readonly network: Promise<Network>;
}

/** Starts the units on the ground, and everything that need not be waited for. */
function runUnits(ground: Prepared, parts: Parts): Units {
  const { cmdline, clock, logs, children, power, faults, screen, syscalls, boot, groups } = parts;
  power.onEnd({ root: ground.root });
  const group = cmdline.lane === "machine" ? "aios" : `aios-${boot.id.slice(-8)}`;
  const all = openGroups(`/sys/fs/cgroup/${group}`, "/proc", clock);
  for (const { name, limits, makesGroups } of daemons) {
    groups.set(name, makesGroups ? all.openNesting(name, limits) : all.open(name, limits));
  }
  const { system, models, memory } = ground.config;
  const logLevel = system.log_level;
  const folders = {
    runtime: [models.model_dir],
    memory: [dirname(memory.working_db), dirname(memory.longterm_db), memory.vector_db],
  };
  const services = new Map<string, ServiceSpec>();
  const groupOf = ({ name, limits }: ServiceSpec) => {
    const group = all.open(name, limits);
    groups.set(name, group);
    return group;
  };
  const world = machineWorld({ daemons, groups, services, groupOf, children, logs, logLevel, folders, clock });
  const supervisor = new Supervisor(daemons, world);
  const reserved = new Set(["init", ...daemons.map(({ name }) => name)]);
  const managed = openManaged({ folder: `${layout.etc}/services`, services, supervisor, faults, reserved });
  reportUnits(supervisor, logs, screen);
  watchDaemons(
    supervisor,
    daemons.map(({ name }) => name),
    faults,
    clock,
  );
  supervisor.startAll();
  parts.done("first units started");
  power.onEnd({ supervisor, closeGroups: all.close });

  const tryTo = (act: string, run: () => void) => {
    try {
      run();
    } catch (error) {
      screen.fault(act, error);
    }
  };
  tryTo("keep logs", () => logs.keepIn(layout.log));
  tryTo("watch the data volume's space", () => watchDataVolume(ground.root.data, faults, clock));
  const network = bringUpNetwork(ground, parts);
  network.catch((error: unknown) => screen.fault("start the network", error));
  if (cmdline.lane === "machine") {
    tryTo("arm the watchdog", () => armWatchdog(syscalls, screen, power));
    const pressed = () => power.end("power-off", "the power button was pressed");
    tryTo("listen for the power button", () => listenForPowerButton({ sys: "/sys", dev: "/dev" }, pressed));
  }
  const hardwareJson = Buffer.from(readText(layout.run, "hardware.json"));
  const end = (act: "power-off" | "restart", reason: string) => power.end(act, reason);
  const serving = import("./serve.ts").then(({ serveMachine }) =>
    serveMachine({ supervisor, boot, logs, groups, managed, services, clock, hardwareJson, end }),
  );
  serving
    .then((closeServices) => {
      parts.done("API");
      power.onEnd({ closeServices });
    })
    .catch((error) => screen.fault("serve the API", error));
  return {
    supervisor,
    managed,
    network,
    clock,
    unitsOf: { runtime: unitsOf("runtime"), core: unitsOf("core") },
    ...lazyPeers(clock),
  };
}

function unitsOf(phase: "runtime" | "core"): readonly string[] {
  return daemons.filter((spec) => spec.phase === phase).map(({ name }) => name);
}

/** The questions to the daemons, with the code for them loaded at the first. */
function lazyPeers(clock: Clock): Pick<BootNeeds, "runtimeProblem" | "missingAgents" | "ledgerProblems"> {
  let asked: Promise<ReturnType<typeof import("./peers.ts").askPeers>> | undefined;
  const peers = () => {
    asked ??= import("./peers.ts").then(({ askPeers }) => askPeers(layout.run, layout.etc, clock));
    return asked;
  };
  return {
    runtimeProblem: async () => (await peers()).runtimeProblem(),
    missingAgents: async () => (await peers()).missingAgents(),
    ledgerProblems: async () => (await peers()).ledgerProblems(),
  };
}

async function bringUpNetwork({ hardware, provision, config, hostname }: Prepared, parts: Parts): Promise<Network> {
  const { linkResolvConf, startNetwork } = await import("./network/network.ts");
  const { command, children, faults, screen } = parts;
  const { nics } = hardware;
  const dnsServers = config.network.dns_servers;
  const firewallFile = `${layout.state}/ledger/firewall.json`;
  const nicsNow = () => listNics("/sys");
  const fixed = { nics, nicsNow, provision, hostname, dnsServers, firewallFile, run: layout.run };
  const network = await startNetwork({ ...fixed, command, children, faults, screen });
  linkResolvConf(layout.run);
  return network;
}

/** Leaves word of the last good boot: which version it was, how long it took, and where the processors' time went. */
function markGood({ id, version, autonomyMs }: Boot, groups: ReadonlyMap<string, Group>, at: number): void {
  const units = Object.fromEntries([...groups].map(([name, group]) => [name, group.cpuMs()]));
  const record = { bootId: id, version, at, autonomyMs: autonomyMs(), cpuMs: { init: usedMs(), ...units } };
  replaceFile(`${layout.state}/boot-good.json`, `${JSON.stringify(record)}\n`);
}

/** Processor time that init itself has used. */
function usedMs(): number {
  const { user, system } = process.cpuUsage();
  return Math.round((user + system) / 1000);
}
