import { consoleLines } from "#manifest";
import type { BenchHost } from "../bench/bench.ts";
import type { Measure } from "../bench/row.ts";
import { bootTimeoutMs, type Machine, type MachineSpec, startMachine } from "../machine.ts";

/** What a campaign is given beside what every benchmark is. */
export interface Ground extends BenchHost {
  /** Decides everything that is drawn: the same seed, the same campaign. */
  readonly seed: number;
  /** How many faults; undefined = as many as the campaign has by itself. */
  readonly count: number | undefined;
  /** A folder of this run, gone when it is over. */
  folder(name: string): string;
  /** Boots a machine and waits until it is autonomous and reached. It is cut off when the campaign is over. */
  boot(spec: CampaignSpec): Promise<Machine>;
  /** Starts one without waiting for anything. */
  start(spec: CampaignSpec): Promise<Machine>;
}

type CampaignSpec = Pick<MachineSpec, "lane" | "append" | "data" | "provisioned" | "memoryMiB" | "clockMs"> & {
  readonly name: string;
};

/** Faults of one kind, made one after the other, and what came of them. */
export interface Campaign {
  /** One line for the help. */
  readonly summary: string;
  /** How many faults it makes when nobody says how many. */
  readonly countDefault: number;
  run(ground: Ground): Promise<readonly Measure[]>;
}

/** A figure that must be so: "count" and "share" are at least their budget, "times" and "ms" at most. */
export const atMost = (name: string, value: number, budget: number, unit: "times" | "ms" = "times"): Measure => ({
  ...{ name, value, unit, budget },
});

export const counted = (name: string, value: number, budget?: number): Measure => ({
  ...{ name, value, unit: "count" },
  ...(budget !== undefined && { budget }),
});

/** Runs a campaign on ground of its own. */
export async function onGround<T>(
  host: BenchHost,
  settings: { readonly seed: number; readonly count: number | undefined; readonly root: string },
  act: (ground: Ground) => Promise<T>,
): Promise<T> {
  const started: Machine[] = [];
  const start = async (spec: CampaignSpec) => {
    const machine = await startMachine({
      ...spec,
      images: await host.images(),
      folder: `${settings.root}/${spec.name}`,
      operatorFolder: `${settings.root}/operator`,
      accelerator: host.accelerator,
    });
    started.push(machine);
    return machine;
  };
  try {
    return await act({
      ...host,
      ...{ seed: settings.seed, count: settings.count },
      folder: (name) => `${settings.root}/${name}`,
      start,
      async boot(spec) {
        const machine = await start(spec);
        await machine.waitFor(consoleLines.ready, bootTimeoutMs[spec.lane]);
        await machine.reached(bootTimeoutMs[spec.lane]);
        return machine;
      },
    });
  } catch (error) {
    for (const machine of started) host.say(`faults: ${machine.name} said last:\n${machine.console.tail()}`);
    throw error;
  } finally {
    await Promise.all(started.map((machine) => machine.cut()));
  }
}
