import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openFaults } from "../base/faults.ts";
import { prepareGpus } from "./gpu-drivers.ts";
import type { Gpu } from "./hardware.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync("/tmp/aios-gpu-drivers-");
  mkdirSync(join(root, "sys/bus/pci/devices/0000:01:00.0"), { recursive: true });
  writeFileSync(join(root, "sys/bus/pci/devices/0000:01:00.0/modalias"), "pci:v00001002d0000744C\n");
  mkdirSync(join(root, "dev/dri"), { recursive: true });
  for (const name of ["dri/renderD128", "dri/card0", "nvidia0", "null"])
    writeFileSync(join(root, "dev", name), "", { mode: 0o600 });
});
afterEach(() => rmSync(root, { recursive: true }));

const gpu = (more: Partial<Gpu> = {}): Gpu => ({
  vendor: "amd",
  device: "0x744c",
  pci: "0000:01:00.0",
  class: "vga",
  ...more,
});

async function prepared(gpus: readonly Gpu[], fails = false) {
  const [commands, owned, faults] = [[] as string[], [] as string[], openFaults()];
  await prepareGpus(gpus, {
    files: { sys: join(root, "sys"), dev: join(root, "dev") },
    command: async (name, args) => {
      commands.push([name, ...args].join(" "));
      if (fails) throw new Error("module not found");
      return { code: 0, output: "" };
    },
    faults,
    own: (path, uid, gid) => owned.push(`${path.slice(root.length)} ${uid}:${gid}`),
  });
  return { commands, owned, faults: faults.list() };
}

it("loads a driver for a GPU that has none, and opens its device files to the runtime", async () => {
  expect(await prepared([gpu()])).toEqual({
    commands: ["modprobe --all --use-blacklist pci:v00001002d0000744C"],
    owned: ["/dev/dri/renderD128 0:901", "/dev/nvidia0 0:901"],
    faults: [],
  });
  expect(statSync(join(root, "dev/dri/renderD128")).mode & 0o777).toBe(0o660);
  expect(statSync(join(root, "dev/dri/card0")).mode & 0o777).toBe(0o600);
  expect((await prepared([gpu({ driver: "amdgpu" })])).commands).toEqual([]);
});

it("does without one whose driver does not load, saying so, and touches nothing on a machine without a GPU", async () => {
  const { faults } = await prepared([gpu()], true);
  expect(faults).toEqual([
    expect.stringMatching(/GPU 0000:01:00\.0 \(amd\) has no driver: module not found; models run on the processor/),
  ]);
  expect(await prepared([gpu({ vendor: "0x1234" })])).toEqual({ commands: [], owned: [], faults: [] });
  expect(await prepared([])).toEqual({ commands: [], owned: [], faults: [] });
});
