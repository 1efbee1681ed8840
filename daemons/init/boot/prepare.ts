import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "#lib/clock";
import type { Config } from "#lib/config/config";
import { type MachineState, writeMachineState } from "#lib/data/machine-state";
import { messageOf } from "#lib/errors";
import { writeFilters } from "#lib/linux/confinement";
import { layout } from "#manifest";
import {
  effectiveConfig,
  type Faults,
  machineFolders,
  makeFolders,
  mountFlags,
  type Provision,
  type Run,
  readText,
  type Syscalls,
  setSysctls,
  takeProvision,
} from "../base/index.ts";
import {
  bindData,
  enterOverlay,
  findVolume,
  listBlockDevices,
  mountOverlay,
  openData,
  plainRoot,
  type Root,
} from "../disks/index.ts";
import type { Cmdline, Screen } from "../early/index.ts";
import { type Hardware, prepareGpus, readHardware, shortfalls } from "../hardware/index.ts";
import { rememberTime, type StartTime, setClock, timeMark } from "../time/index.ts";

export interface PrepareNeeds {
  readonly cmdline: Cmdline;
  readonly syscalls: Syscalls;
  readonly command: Run;
  readonly faults: Faults;
  readonly screen: Screen;
  readonly clock: Clock;
  /** When the image was made, milliseconds since the epoch. */
  readonly madeMs: number;
  /** Says in init's log, not on the screen, that a step of phase 1 is done: where a slow boot spends its time. */
  readonly done: (step: string) => void;
}

/** The result of phase 1, on which everything else stands. */
export interface Prepared {
  readonly root: Root;
  readonly hardware: Hardware;
  readonly provision: Provision;
  readonly config: Config;
  readonly hostname: string;
  /** Where the data are: see MachineState. */
  readonly data: MachineState["data"];
  readonly time: StartTime;
}

const kernel = { proc: "/proc", sys: "/sys", dev: "/dev" } as const;
const provisionMount = "/run/aios-provision";
const provisionFolder = join(layout.run, "provision");

/**
 * Phase 1, hardware: what the machine is, its data, its root, its configuration. What is missing or broken becomes a fault
 * and is done without; it throws only where nothing could run.
 */
export async function prepare(needs: PrepareNeeds): Promise<Prepared> {
  const step = async <T>(name: string, act: () => T | Promise<T>): Promise<T> => {
    const made = await act();
    needs.done(name);
    return made;
  };
  await step("command line", () => reportProblems(needs));
  const hardware = await step("hardware", () => findHardware(needs));
  await step("kernel settings", () => setKernel(hardware, needs));
  const data = await step("data volume", () => openData(kernel, needs));
  const provision = await step("provisioning", () => readProvision(needs));
  const root = await step("root and folders", () => enterRoot(needs));
  const config = await step("configuration", () => configure(root, needs));
  const hostname = await step("host name", () => setHostname(provision.hostname ?? config.system.hostname, needs));
  const time = await step("time", () => startTime(needs));
  await step("facts for the daemons", () => writeFacts(hardware, { data, clock: time.state }));
  return { root, hardware, provision, config, hostname, data, time };
}

function reportProblems({ cmdline, faults }: PrepareNeeds): void {
  for (const [index, problem] of cmdline.problems.entries()) faults.raise(`cmdline-${index}`, problem);
}

async function findHardware({ cmdline, command, faults }: PrepareNeeds): Promise<Hardware> {
  const found = readHardware(kernel);
  for (const [index, shortfall] of shortfalls(found).entries()) faults.raise(`hardware-${index}`, shortfall);
  if (cmdline.lane === "machine") await prepareGpus(found.gpus, { files: kernel, command, faults });
  return found.gpus.length > 0 ? readHardware(kernel) : found;
}

/** A host's kernel is the host's. */
function setKernel({ gpus }: Hardware, { cmdline, faults }: PrepareNeeds): void {
  const refused = cmdline.lane === "machine" ? setSysctls(gpus.length > 0) : [];
  if (refused.length > 0)
    faults.raise("sysctls", `kernel settings: ${refused.join("; ")}; the machine goes on without`);
}

function enterRoot(needs: PrepareNeeds): Root {
  const root = needs.cmdline.overlay ? overlaidRoot(needs) : plainRoot();
  bindData(root, needs.syscalls);
  makeFolders(machineFolders(layout.run, layout.state, layout.log));
  writeFilters(layout.run);
  return root;
}

/** The image's root under what was changed on this machine, or alone when the two cannot be joined. */
function overlaidRoot({ syscalls, faults }: PrepareNeeds): Root {
  try {
    mountOverlay(syscalls);
  } catch (error) {
    const next =
      'changes to the system are not in effect; start the recovery entry ("aios.overlay=off") and free space';
    faults.raise("overlay", `overlay of the root: ${messageOf(error)}; ${next}`);
    return plainRoot();
  }
  return enterOverlay(syscalls);
}

/** The provisioning that the machine was handed, or nothing: then it makes its own identity, and asks DHCP. */
function readProvision(needs: PrepareNeeds): Provision {
  const { cmdline, syscalls, faults } = needs;
  mkdirSync(layout.run, { recursive: true });
  const take = (folder: string) => {
    try {
      return takeProvision(folder, provisionFolder);
    } catch (error) {
      faults.raise("provision", messageOf(error));
      return {};
    }
  };
  if (cmdline.provisionFolder !== undefined) return take(cmdline.provisionFolder);
  const device = cmdline.lane === "machine" ? findVolume(listBlockDevices(kernel), "provision") : undefined;
  if (device === undefined) return {};
  try {
    mkdirSync(provisionMount, { recursive: true });
    const flags = mountFlags.readOnly | mountFlags.noExec | mountFlags.noDev | mountFlags.noSuid;
    syscalls.mount(device.path, provisionMount, "vfat", flags, "umask=077");
  } catch (error) {
    faults.raise("provision", `provisioning volume ${device.path}: ${messageOf(error)}; make it anew`);
    return {};
  }
  const provision = take(provisionMount);
  syscalls.unmount(provisionMount);
  return provision;
}

async function configure(root: Root, { cmdline, faults }: PrepareNeeds): Promise<Config> {
  const file = `${layout.etc}/config.toml`;
  const files = {
    // Below the overlay is the file that the build has checked, whatever lies over it.
    image: `${root.image ?? ""}${file}`,
    machine: file,
    lastGood: `${layout.state}/config.last-good.toml`,
  };
  const { config, problems } = await effectiveConfig(files, cmdline.settings);
  for (const [index, problem] of problems.entries()) faults.raise(`config-${index}`, problem);
  writeFileSync(`${layout.run}/config.json`, JSON.stringify(config), { mode: 0o644 });
  return config;
}

/** A host's clock is the host's: a machine that shares it leaves it alone. */
async function startTime(needs: PrepareNeeds): Promise<StartTime> {
  if (needs.cmdline.lane !== "machine") return { state: { sure: true }, detail: "by the host's clock" };
  const time = await setClock({ ...needs, floorMs: needs.madeMs, mark: timeMark, passed: provisionedAt });
  rememberTime(needs.clock, needs.faults);
  return time;
}

/** The time at which the machine's certificate was made, by whoever provisioned it. */
async function provisionedAt(): Promise<number | undefined> {
  const certificate = readText(provisionFolder, "machine.pem");
  if (certificate === "") return undefined;
  const { readCertificate } = await import("#lib/identity/pki");
  return readCertificate(certificate).notBefore;
}

function setHostname(name: string, { syscalls, faults }: PrepareNeeds): string {
  try {
    syscalls.setHostname(name);
  } catch (error) {
    faults.raise("hostname", `${messageOf(error)}; the machine goes on without`);
  }
  return name;
}

/** Writes what daemons and people read of the machine. */
function writeFacts(hardware: Hardware, state: MachineState): void {
  writeFileSync(`${layout.run}/hardware.json`, `${JSON.stringify(hardware, null, 2)}\n`, { mode: 0o644 });
  writeMachineState(layout.run, state);
}
