import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import { AiosError, messageOf } from "#lib/errors";
import { ensureOperatorIdentity, issueMachineCertificate } from "#lib/identity/operator";
import type { KeyPair } from "#lib/identity/pki";
import { connect } from "#lib/rpc/client";
import type { Client, ServiceDefinition } from "#lib/rpc/service";
import { InitService } from "#proto/aios/init";
import type { Accelerator } from "./accelerator.ts";
import type { Console, ConsoleLine, End } from "./console.ts";
import { type DataPlace, prepareDataFolder, prepareDataVolume } from "./data-volume.ts";
import { prepareDataDisk, prepareFirmwareDisk } from "./disks.ts";
import { type EmulatorOptions, startEmulator, userNetwork } from "./emulator.ts";
import type { Images } from "./images.ts";
import { type Kept, type RunningNative, startNative } from "./native.ts";
import type { MachineProcess } from "./native-processes.ts";
import { provisioningFiles } from "./provisioning.ts";
import type { NetworkSettings, Running } from "./running.ts";

export const lanes = ["native", "qemu", "firmware"] as const;
export type Lane = (typeof lanes)[number];

/** What a machine is started from. */
export interface MachineSpec {
  readonly lane: Lane;
  readonly images: Images;
  /** The machine's own folder: its data disk and provisioning volume. What is in it outlives the machine. */
  readonly folder: string;
  /** The operator's identity folder (~/.config/aios). */
  readonly operatorFolder: string;
  readonly accelerator: Accelerator;
  /** Host name, and the name in its certificate. */
  readonly name?: string;
  /** Options added to the kernel command line. The firmware lane has its own in the boot menu and takes none. */
  readonly append?: readonly string[];
  readonly memoryMiB?: number;
  readonly cpus?: number;
  /** In QEMU: what its own clock says when it is switched on, milliseconds since the epoch; the host's when absent. */
  readonly clockMs?: number;
  /** In QEMU: it may speak to servers on this host's loopback, at 10.0.2.2. */
  readonly reachesHost?: boolean;
  /**
   * "none" = it has no data disk; a path = this file instead of its own: a disk, or in the native lane an ext4 image. "folder",
   * in the native lane = `folder`/data on this host's own file system, for who looks into it or measures: it has no bound.
   */
  readonly data?: "none" | "folder" | string;
  /** In the native lane: what it may do after all, of what keeps it from its host. A container's devices need mknod. */
  readonly keeps?: readonly Kept[];
  /** false = no provisioning volume: it makes its own authority and waits for enrolment. */
  readonly provisioned?: boolean;
  /** true = the provisioning volume names no address and the machine asks DHCP. Native machines have no DHCP server. */
  readonly dhcp?: boolean;
}

const memoryMiBDefault = 2048;
const cpusDefault = 2;

/** A started machine, the same in every lane. */
export interface Machine {
  readonly lane: Lane;
  readonly name: string;
  /** "native", "kvm" or "tcg". */
  readonly accelerator: string;
  readonly console: Console;
  /** Port 9090 as this host reaches it. */
  readonly target: string;
  readonly ended: Promise<End>;
  /** Waits for a line of its console. See Console.waitFor. */
  waitFor(wanted: string | RegExp, timeoutMs: number): Promise<ConsoleLine>;
  /** A client of one of its services over mTLS, as the operator or as whoever `identity` is (undefined: without a certificate). */
  client<S extends ServiceDefinition>(definition: S, as?: ClientIdentity): Client<S>;
  /** Resolves when port 9090 answers. */
  reached(timeoutMs: number): Promise<void>;
  /** Types on its own keyboard, the serial line; throws where it has none. */
  type(text: string): void;
  /** Copies its data disk to a path of this host, as a power cut at this moment would leave it. Only in the QEMU lane; throws elsewhere. */
  copyData(to: string): Promise<void>;
  /** A power cut. */
  cut(): Promise<void>;
  /** Shuts down in order, through its API. Throws, with the last lines of its console, when it does not end in time. */
  powerOff(timeoutMs?: number): Promise<End>;
  /** Processor time that its processes have used so far, as this host sees it; QEMU's where QEMU runs it. Milliseconds. */
  processorMs(): number;
  /** The machine's processes as this host sees them, its init first. Only in the native lane; throws elsewhere. */
  processes(): MachineProcess[];
  /** Kills a unit's main process with SIGKILL, from this host. Only in the native lane. */
  killUnit(unit: string): Promise<void>;
}

/** Who a client is to the machine: a key pair or nobody; and whom it takes the machine for. */
interface ClientIdentity {
  readonly pair: KeyPair | undefined;
}

/** A boot takes at most so long, by its lane: under emulation hosts differ threefold. */
export const bootTimeoutMs = { native: 60_000, qemu: 240_000, firmware: 300_000 } as const;

const powerOffTimeoutMs = 60_000;
const reachPauseMs = 100;

/** Boots a machine. It ends with this process. */
export async function startMachine(spec: MachineSpec): Promise<Machine> {
  mkdirSync(spec.folder, { recursive: true });
  const name = spec.name ?? "aios";
  const operator = await ensureOperatorIdentity(spec.operatorFolder);
  const running = spec.lane === "native" ? await startInSpaces(spec, name) : await startInQemu(spec, name);
  const operatorClient: ClientIdentity = { pair: operator.client };
  const machine: Machine = {
    lane: spec.lane,
    name,
    accelerator: spec.lane === "native" ? "native" : spec.accelerator,
    console: running.console,
    target: running.target,
    ended: running.ended,
    waitFor: (wanted, timeoutMs) => running.console.waitFor(wanted, timeoutMs),
    client: (definition, { pair } = operatorClient) => {
      const [key, certificate] =
        pair === undefined ? [null, null] : [Buffer.from(pair.key), Buffer.from(pair.certificate)];
      const credentials = grpc.credentials.createSsl(Buffer.from(operator.ca.certificate), key, certificate);
      return connect(definition, running.target, credentials, { "grpc.ssl_target_name_override": name });
    },
    reached: (timeoutMs) => reached(machine, timeoutMs),
    type: (text) => typeOn(running, text),
    copyData: (to) => copyData(running, to),
    cut: () => running.cut(),
    powerOff: (timeoutMs = powerOffTimeoutMs) => powerOff(machine, timeoutMs),
    processorMs: () => running.processorMs(),
    processes: () => processes(running),
    killUnit: (unit) => killUnit(machine, unit),
  };
  return machine;
}

/** The certificate names that a machine is reached by. */
function certificateAddresses(network: NetworkSettings | undefined): string[] {
  const own = network?.address.split("/")[0];
  return ["localhost", "127.0.0.1", ...(own === undefined ? [] : [own])];
}

async function filesFor(
  spec: MachineSpec,
  name: string,
  network: NetworkSettings | undefined,
): Promise<Record<string, string>> {
  const identity = await issueMachineCertificate(spec.operatorFolder, name, certificateAddresses(network));
  return provisioningFiles(name, network, identity);
}

function startInSpaces(spec: MachineSpec, name: string): Promise<RunningNative> {
  const provision = join(spec.folder, "provision");
  rmSync(provision, { recursive: true, force: true });
  mkdirSync(provision, { mode: 0o700 });
  return startNative({
    root: spec.images.rootTree,
    // An init of before these bounds makes its devices itself and ends by reboot(2).
    keeps: spec.images.ofAnotherCommit ? ["mknod", "sys_boot"] : (spec.keeps ?? []),
    data: nativeData(spec),
    provision: spec.provisioned === false ? undefined : provision,
    prepare: async (network) => {
      for (const [file, text] of Object.entries(await filesFor(spec, name, network)))
        writeFileSync(join(provision, file), text, { mode: 0o600 });
    },
    append: spec.append ?? [],
  });
}

/** What stands for a native machine's data partition; undefined when it has none. */
function nativeData({ data, folder }: MachineSpec): DataPlace | undefined {
  if (data === "none") return undefined;
  if (data === "folder") return prepareDataFolder(folder);
  return data === undefined ? prepareDataVolume(folder) : { path: data };
}

async function startInQemu(spec: MachineSpec, name: string): Promise<Running> {
  const provision = join(spec.folder, "provision.img");
  if (spec.provisioned !== false) {
    const network = spec.dhcp ? undefined : userNetwork;
    await spec.images.writeProvisioningVolume(provision, await filesFor(spec, name, network));
  }
  const { boot, drives } = spec.lane === "qemu" ? directBoot(spec) : await firmwareBoot(spec);
  return startEmulator({
    boot,
    accelerator: spec.accelerator,
    memoryMiB: spec.memoryMiB ?? memoryMiBDefault,
    cpus: spec.cpus ?? cpusDefault,
    clockMs: spec.clockMs,
    reachesHost: spec.reachesHost,
    drives: [
      ...drives,
      ...(spec.provisioned === false ? [] : [{ path: provision, serial: "aios-prov", readOnly: true }]),
    ],
  });
}

type BootOptions = Pick<EmulatorOptions, "boot" | "drives">;

const kernelOptions = [
  "root=/dev/vda",
  "rootfstype=erofs",
  "ro",
  "init=/usr/sbin/aios-init",
  "console=ttyS0",
  "panic=10",
  "quiet",
];

function directBoot({ images, folder, append = [], data }: MachineSpec): BootOptions {
  return {
    boot: { kind: "kernel", kernel: images.kernel, cmdline: [...kernelOptions, ...append].join(" ") },
    drives: [
      { path: images.rootImage, serial: "aios-root", readOnly: true },
      ...(data === "none" ? [] : [{ path: data ?? prepareDataDisk(folder), serial: "aios-data" }]),
    ],
  };
}

async function firmwareBoot({ images, folder }: MachineSpec): Promise<BootOptions> {
  const { disk, code, variables } = prepareFirmwareDisk(folder, await images.disk());
  return { boot: { kind: "firmware", code, variables }, drives: [{ path: disk, serial: "aios-disk" }] };
}

/** Port 9090 is reached when init answers through it: the console listens before init's own socket is bound. */
async function reached(machine: Machine, timeoutMs: number): Promise<void> {
  const init = machine.client(InitService);
  const deadline = performance.now() + timeoutMs;
  try {
    for (;;) {
      try {
        await init.getBoot({}, { timeoutMs: 2_000 });
        return;
      } catch (error) {
        if (performance.now() > deadline) {
          throw new AiosError(
            "UNAVAILABLE",
            `reach ${machine.target}: ${messageOf(error)}; its last lines:\n${machine.console.tail()}`,
          );
        }
      }
      await delay(reachPauseMs);
    }
  } finally {
    init.close();
  }
}

async function powerOff(machine: Machine, timeoutMs: number): Promise<End> {
  const init = machine.client(InitService);
  const late = new AbortController();
  try {
    await init.shutdown({ reason: "powered off from the host" }).catch(unlessGone);
    const end = await Promise.race([machine.ended, delay(timeoutMs, undefined, { signal: late.signal })]);
    if (end !== undefined) return end;
  } finally {
    late.abort();
    init.close();
  }
  await machine.cut();
  throw new AiosError(
    "DEADLINE_EXCEEDED",
    `power off: not off within ${timeoutMs} ms, cut off; its last lines:\n${machine.console.tail()}`,
  );
}

/** The console ends with the machine: the answer may be lost, and whether the machine ends is what counts. */
function unlessGone(error: unknown): void {
  if (!(error instanceof AiosError && error.code === "UNAVAILABLE")) throw error;
}

function typeOn(running: Running | RunningNative, text: string): void {
  if (!("type" in running) || running.type === undefined)
    throw new AiosError("FAILED_PRECONDITION", "type at a machine: in the native lane it has no keyboard");
  running.type(text);
}

async function copyData(running: Running | RunningNative, to: string): Promise<void> {
  if (!("copyData" in running) || running.copyData === undefined)
    throw new AiosError(
      "FAILED_PRECONDITION",
      "copy a machine's data disk: only in the QEMU lane it is at rest meanwhile",
    );
  await running.copyData(to);
}

function processes(running: Running | RunningNative): MachineProcess[] {
  if ("processes" in running) return running.processes();
  throw new AiosError(
    "FAILED_PRECONDITION",
    "list a machine's processes: only those of the native lane are this host's",
  );
}

async function killUnit(machine: Machine, unit: string): Promise<void> {
  const init = machine.client(InitService);
  try {
    const { pid } = await init.getUnit({ name: unit });
    const found = machine.processes().find((each) => each.pid === pid);
    if (pid === 0 || found === undefined) throw new AiosError("NOT_FOUND", `kill ${unit}: it has no process`);
    process.kill(found.hostPid, "SIGKILL");
  } finally {
    init.close();
  }
}
