/**
 * A data volume that cannot be read is nobody's reason to begin anew. The machine then runs in memory, says so
 * (`machine-state.json`), and makes no key that is to last: no authority for operators or services, none to seal
 * providers' keys by, and the ledger of that boot is signed by nobody, which its verification tells (`keysOutOfReach`):
 * what such a key signs nobody could check afterwards. The boot menu's entry for repairs (`aios.repair=ask`) asks at
 * the screen before it runs `fsck -y`. A volume that the kernel made read-only is a fault within 5 s.
 */
import type { Clock } from "#lib/clock";
import type { MachineState } from "#lib/data/machine-state";
import { messageOf } from "#lib/errors";
import type { Faults, KernelFiles, Run, Syscalls } from "../base/index.ts";
import type { Cmdline, Screen } from "../early/index.ts";
import { awaitDataVolume, prepareDataVolume } from "./disks.ts";
import { type DataSource, mountData, unmountData } from "./root.ts";

interface VolumeNeeds {
  readonly cmdline: Cmdline;
  readonly syscalls: Syscalls;
  readonly command: Run;
  readonly faults: Faults;
  readonly screen: Screen;
  readonly clock: Clock;
}

interface Found {
  readonly source: DataSource;
  readonly data: MachineState["data"];
}

/** Mounts what holds the data: the volume, or memory where there is none that can be used. Says which, and why. */
export async function openData(kernel: KernelFiles, tools: VolumeNeeds): Promise<MachineState["data"]> {
  const { source, data } = await findData(kernel, tools);
  try {
    mountData(source, tools.syscalls);
    return data;
  } catch (error) {
    if (source.kind === "memory") throw error;
    const next = "nothing was written to it; nothing is kept after power-off";
    tools.faults.raise(dataFault, `data volume: ${messageOf(error)}; ${next}`);
    unmountData(tools.syscalls);
    mountData({ kind: "memory" }, tools.syscalls);
    return "unreadable";
  }
}

const dataFault = "data";

async function findData(kernel: KernelFiles, tools: VolumeNeeds): Promise<Found> {
  const { cmdline, faults, clock, command, screen } = tools;
  if (cmdline.dataFolder !== undefined) {
    return { source: { kind: "folder", path: cmdline.dataFolder }, data: "volume" };
  }
  const device = await awaitDataVolume(kernel, clock);
  if (device === undefined) {
    const next = 'attach a disk with a partition named "aios-data", or one with that serial number, and restart';
    faults.raise(dataFault, `data volume: none found, nothing is kept after power-off; ${next}`);
    return { source: { kind: "memory" }, data: "memory" };
  }
  const prepare = async () => {
    const done = await prepareDataVolume(device, command);
    screen.say(`aios-init: data volume ${device.path}: ${done}`);
    return { source: { kind: "device", path: device.path }, data: "volume" } as const;
  };
  try {
    return await prepare().catch(async (error: unknown) => {
      if (!cmdline.askRepair || !(await repairIfWanted(device.path, messageOf(error), tools))) throw error;
      return prepare();
    });
  } catch (error) {
    faults.raise(dataFault, `${messageOf(error)}; until then nothing is kept after power-off`);
    return { source: { kind: "memory" }, data: "unreadable" };
  }
}

/** Code that one boot in thousands needs. */
async function repairIfWanted(device: string, reason: string, tools: VolumeNeeds): Promise<boolean> {
  const { offerRepair } = await import("./repair.ts");
  return offerRepair(device, reason, tools);
}
