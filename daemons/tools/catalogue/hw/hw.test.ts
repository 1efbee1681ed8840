import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { coreIdentity } from "#lib/rpc/service";
import type { AnyCall } from "../../tool.ts";
import { infoTool } from "./info.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-hw-");
  write("proc/cpuinfo", "processor\t: 0\nmodel name\t: A Fast One\nprocessor\t: 1\nmodel name\t: A Fast One\n");
  write("proc/meminfo", "MemTotal:        2097152 kB\n");
});

afterEach(() => rmSync(folder, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(`${folder}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
  writeFileSync(`${folder}/${path}`, text);
}

const info = () => {
  const call = {
    executionId: "e",
    caller: coreIdentity("orchestrator"),
    input: {},
    resources: {},
    signal: new AbortController().signal,
  };
  return infoTool({ proc: `${folder}/proc`, sys: `${folder}/sys` }).run(call as unknown as AnyCall);
};

it("finds GPUs by their PCI class, and disks but not what only looks like one", async () => {
  write("sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n");
  write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n");
  write("sys/bus/pci/devices/0000:01:00.0/device", "0x2335\n");
  write("sys/bus/pci/devices/0000:00:01.0/class", "0x020000\n");
  write("sys/block/vda/size", "4194304\n");
  write("sys/block/loop0/size", "4194304\n");
  expect(await info()).toEqual({
    cpu: "A Fast One",
    cores: 2,
    ram_mb: 2048,
    gpu: "NVIDIA 0x2335 at 0000:01:00.0",
    storage: [{ name: "vda", size_gb: 2 }],
  });
});

it("works on a machine without PCI and disks", async () => {
  expect(await info()).toMatchObject({ gpu: "none", storage: [] });
});
