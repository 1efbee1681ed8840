import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { coreIdentity } from "#lib/rpc/service";
import { type Machine, startMachine } from "../../testing/harness.ts";
import type { AnyCall } from "../../tool.ts";
import { deviceTools } from "./devices.ts";

describe("on this machine", () => {
  let machine: Machine;

  beforeAll(async () => {
    machine = await startMachine();
  });
  afterAll(() => machine.close());

  it.each(["hw.cpu", "hw.memory", "hw.gpu", "hw.storage", "hw.network", "hw.sensors"])("%s answers", async (tool) => {
    expect(await machine.core.call(tool)).toMatchObject({ success: true, error: "" });
  });

  it("agree with what else is known", async () => {
    const { output: info } = await machine.core.call("hw.info");
    const { output: cpu } = await machine.core.call("hw.cpu");
    expect(cpu).toMatchObject({ model: info.cpu, threads: info.cores });
    expect(cpu.features).toContain("fpu");
    expect((await machine.core.call("hw.memory")).output.total_mb).toBe(info.ram_mb);
    const { output: network } = await machine.core.call("hw.network");
    expect(network.devices).toContainEqual(expect.objectContaining({ name: "lo", physical: false }));
  });
});

describe("on a machine of files", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync("/tmp/aios-devices-");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function write(files: Record<string, string>): void {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(`${folder}/${path}`), { recursive: true });
      writeFileSync(`${folder}/${path}`, `${text}\n`);
    }
  }

  const ask = (name: string, nvidiaSmi?: string) => {
    const tool = deviceTools({ proc: `${folder}/proc`, sys: `${folder}/sys` }, nvidiaSmi).find(
      (one) => one.name === name,
    );
    const { signal } = new AbortController();
    return tool?.run({
      executionId: "e",
      caller: coreIdentity("orchestrator"),
      input: {},
      resources: {},
      signal,
    } as unknown as AnyCall);
  };

  it("hw.cpu counts sockets, cores and threads", async () => {
    const processor = (id: number, socket: number, core: number) =>
      `processor\t: ${id}\nvendor_id\t: V\nmodel name\t: M: 2\nphysical id\t: ${socket}\ncore id\t\t: ${core}\ncpu MHz\t\t: 1000.5\nflags\t\t: fpu hypervisor`;
    write({
      "proc/cpuinfo": [processor(0, 0, 0), processor(1, 0, 0), processor(2, 0, 1), processor(3, 1, 0)].join("\n\n"),
      "sys/devices/system/cpu/cpu0/cache/index0/level": "1",
      "sys/devices/system/cpu/cpu0/cache/index0/type": "Data",
      "sys/devices/system/cpu/cpu0/cache/index0/size": "32K",
      "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3500000",
      "sys/devices/system/cpu/vulnerabilities/meltdown": "Not affected",
    });
    expect(await ask("hw.cpu")).toEqual({
      model: "M: 2",
      vendor: "V",
      sockets: 2,
      cores: 3,
      threads: 4,
      mhz: 1000.5,
      mhz_max: 3500,
      caches: [{ level: 1, type: "data", size: "32K" }],
      virtualized: true,
      features: ["fpu", "hypervisor"],
      vulnerabilities: [{ name: "meltdown", state: "Not affected" }],
    });
  });

  it("hw.memory tells nodes and errors", async () => {
    write({
      "proc/meminfo": "MemTotal: 4194304 kB\nSwapTotal: 1048576 kB\nHugePages_Total: 3\nHugepagesize: 2048 kB",
      "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 4194304 kB",
      "sys/devices/system/edac/mc/mc0/ce_count": "2",
      "sys/devices/system/edac/mc/mc1/ce_count": "3",
      "sys/devices/system/edac/mc/mc1/ue_count": "1",
    });
    expect(await ask("hw.memory")).toEqual({
      total_mb: 4096,
      swap_mb: 1024,
      huge_page_kb: 2048,
      huge_pages: 3,
      nodes: [{ node: 0, total_mb: 4096 }],
      errors: { corrected: 5, uncorrected: 1 },
    });
  });

  it("hw.gpu takes the name and memory of NVIDIA's from nvidia-smi, of AMD's from sysfs", async () => {
    const devices = "sys/bus/pci/devices";
    write({
      [`${devices}/0000:01:00.0/class`]: "0x030200",
      [`${devices}/0000:01:00.0/vendor`]: "0x10de",
      [`${devices}/0000:01:00.0/device`]: "0x2335",
      [`${devices}/0000:02:00.0/class`]: "0x030000",
      [`${devices}/0000:02:00.0/vendor`]: "0x1002",
      [`${devices}/0000:02:00.0/device`]: "0x744c",
      [`${devices}/0000:02:00.0/mem_info_vram_total`]: String(24 * 2 ** 30),
      [`${devices}/0000:03:00.0/class`]: "0x020000",
      smi: '#!/bin/sh\n[ "$2" = --format=csv,noheader,nounits ] && echo "00000000:01:00.0, NVIDIA H200, 143771, 0, [N/A], 27, 76.43"',
    });
    symlinkSync("../../../../bus/pci/drivers/amdgpu", `${folder}/${devices}/0000:02:00.0/driver`);
    const amd = { slot: "0000:02:00.0", vendor: "AMD", name: "AMD 0x744c", driver: "amdgpu", memory_total_mb: 24_576 };
    const { chmodSync } = await import("node:fs");
    chmodSync(`${folder}/smi`, 0o755);
    expect(await ask("hw.gpu", `${folder}/smi`)).toEqual({
      gpus: [{ slot: "0000:01:00.0", vendor: "NVIDIA", name: "NVIDIA H200", memory_total_mb: 143_771 }, amd],
    });
    expect(await ask("hw.gpu", `${folder}/none`)).toMatchObject({ gpus: [{ name: "NVIDIA 0x2335" }, amd] });
  });

  it("hw.storage tells disks from what only looks like one", async () => {
    write({
      "sys/block/sda/size": "4194304",
      "sys/block/sda/queue/rotational": "1",
      "sys/block/sda/queue/scheduler": "none [mq-deadline]",
      "sys/block/sda/removable": "0",
      "sys/block/sda/ro": "1",
      "sys/block/sda/device/model": "Disk of Iron  ",
      "sys/block/sda/sda1/size": "2097152",
      "sys/block/loop0/size": "8",
    });
    expect(await ask("hw.storage")).toEqual({
      disks: [
        {
          name: "sda",
          size_gb: 2,
          model: "Disk of Iron",
          kind: "rotating",
          removable: false,
          read_only: true,
          scheduler: "mq-deadline",
          partitions: [{ name: "sda1", size_gb: 1 }],
        },
      ],
    });
  });

  it("hw.sensors makes numbers of units", async () => {
    write({
      "sys/class/hwmon/hwmon0/name": "k10temp",
      "sys/class/hwmon/hwmon0/temp1_input": "45125",
      "sys/class/hwmon/hwmon0/temp1_label": "Tctl",
      "sys/class/hwmon/hwmon0/temp1_crit": "95000",
      "sys/class/hwmon/hwmon0/fan2_input": "1200",
      "sys/class/hwmon/hwmon0/in0_input": "1212",
      "sys/class/hwmon/hwmon0/power1_average": "76430000",
      "sys/class/thermal/thermal_zone0/type": "acpitz",
      "sys/class/thermal/thermal_zone0/temp": "27800",
    });
    expect(await ask("hw.sensors")).toEqual({
      sensors: [
        { device: "k10temp", name: "Tctl", value: 45.13, unit: "celsius", critical: 95 },
        { device: "k10temp", name: "in0", value: 1.21, unit: "volt" },
        { device: "k10temp", name: "fan2", value: 1200, unit: "rpm" },
        { device: "k10temp", name: "power1", value: 76.43, unit: "watt" },
        { device: "acpitz", name: "thermal_zone0", value: 27.8, unit: "celsius" },
      ],
    });
  });

  it.each([
    ["hw.gpu", { gpus: [] }],
    ["hw.storage", { disks: [] }],
    ["hw.network", { devices: [] }],
    ["hw.sensors", { sensors: [] }],
  ])("%s finds nothing where there is nothing", async (tool, nothing) => {
    expect(await ask(tool)).toEqual(nothing);
  });
});
