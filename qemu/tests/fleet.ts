import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { consoleLines } from "#manifest";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { imageSettings } from "../../image/image.ts";
import { tellBuild } from "../../image/progress/index.ts";
import { type Accelerator, hostAccelerator } from "../accelerator.ts";
import { allAgents } from "../agents.ts";
import { buildImages, type Images } from "../images.ts";
import { bootTimeoutMs, type Lane, type Machine, type MachineSpec, startMachine } from "../machine.ts";

export { allAgents };

const tools: Readonly<Record<Lane, readonly string[]>> = {
  native: ["unshare", "ip", "setpriv"],
  qemu: ["qemu-system-x86_64"],
  firmware: ["qemu-system-x86_64", "/usr/share/OVMF/OVMF_CODE_4M.fd"],
};

/** Whether a lane's tests run: always under CI, where a missing tool is a failure; on a laptop when its tools are there. */
export function laneRuns(lane: Lane): boolean {
  const missing = missingFor(lane);
  if (missing === undefined || process.env["CI"] !== undefined) return true;
  console.warn(`${lane} lane not tested: ${missing} (run "sh ci/setup"; under CI this fails)`);
  return false;
}

function missingFor(lane: Lane): string | undefined {
  if (process.getuid?.() !== 0) return "building an image needs root";
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  const lacking = tools[lane].find(
    (tool) => !folders.some((folder) => existsSync(tool.startsWith("/") ? tool : join(folder, tool))),
  );
  return lacking === undefined ? undefined : `${lacking} is not installed`;
}

/** The machines of one test file: built once, booted in a folder of their own, gone when the file is done. */
export interface Fleet {
  readonly images: Images;
  /** A folder for a machine, or for anything. */
  folder(name: string): string;
  /** The operator's identity folder. */
  readonly operatorFolder: string;
  /** Starts a machine in `folder(spec.name)`, without waiting for anything. */
  start(spec: FleetSpec): Promise<Machine>;
  /** Starts one and waits until it is autonomous and reached. */
  boot(spec: FleetSpec): Promise<Machine>;
}

export type FleetSpec = Pick<
  MachineSpec,
  "lane" | "append" | "data" | "keeps" | "provisioned" | "dhcp" | "memoryMiB" | "clockMs" | "reachesHost"
> & {
  readonly name: string;
};

export function useFleet(): Fleet {
  const started: Machine[] = [];
  let root: string;
  let images: Images;
  let accelerator: Accelerator;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "aios-machines-"));
    const settings = imageSettings(process.env);
    images = await buildImages(settings, tellBuild(process.stderr));
    accelerator = await hostAccelerator(settings.cache, Date.now());
  });

  afterAll(async () => {
    await Promise.all(started.map((machine) => machine.cut()));
    rmSync(root, { recursive: true, force: true });
  });

  const fleet: Fleet = {
    get images() {
      return images;
    },
    folder: (name) => join(root, name),
    get operatorFolder() {
      return join(root, "operator");
    },
    start: async (spec) => {
      const { operatorFolder } = fleet;
      const machine = await startMachine({
        ...spec,
        images,
        accelerator,
        operatorFolder,
        folder: fleet.folder(spec.name),
      });
      started.push(machine);
      return machine;
    },
    boot: async (spec) => {
      const machine = await fleet.start(spec);
      await machine.waitFor(consoleLines.ready, bootTimeoutMs[spec.lane]);
      await machine.reached(60_000);
      return machine;
    },
  };
  return fleet;
}

/** Names of the agents that are registered and answer. */
async function agentsReady(machine: Machine): Promise<string[]> {
  const orchestrator = machine.client(OrchestratorService);
  try {
    const { agents } = await orchestrator.listAgents({}, { timeoutMs: 5_000 });
    return agents
      .filter(({ status }) => status === "idle" || status === "active")
      .map(({ agentId }) => agentId)
      .sort();
  } finally {
    orchestrator.close();
  }
}

/** Waits until all eight agents are registered and answer: under emulation on a busy host, that takes a minute. */
export async function expectAllAgents(machine: Machine, timeoutMs = 60_000): Promise<void> {
  await expect
    .poll(() => agentsReady(machine).catch(() => []), { timeout: timeoutMs, interval: 100 })
    .toEqual(allAgents);
}
