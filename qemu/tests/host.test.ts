import { readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { layout } from "#manifest";
import { dataDiskBytes } from "../disks.ts";
import { type Probe, probe } from "../goals/probe.ts";
import type { Machine } from "../machine.ts";
import { expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

/** By their numbers in capability(7). */
const kernelCapabilities = { sysModule: 16, sysRawio: 17, sysBoot: 22, sysTime: 25, mknod: 27 } as const;

/** Run by root in the machine, as an operator's service: opens and writes nothing. */
const attempts = `
const { openSync, closeSync, writeFileSync } = require("node:fs");
const tried = {};
for (const path of ["/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/sysrq-trigger",
  "/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/sys/net/ipv4/tcp_syncookies"]) {
  try { closeSync(openSync(path, "r+")); tried[path] = "ok"; } catch ({ code }) { tried[path] = code; }
}
writeFileSync("/srv/tried.json", JSON.stringify(tried));
setTimeout(() => {}, 3_000); // a service that ends at once has failed
`;

describe.runIf(laneRuns("native"))("a machine of the native lane and its host", () => {
  const fleet = useFleet();
  let machine: Machine;
  let look: Probe;

  it("is up with its agents", async () => {
    machine = await fleet.boot({ lane: "native", name: "kept" });
    await expectAllAgents(machine);
    look = probe(machine);
  }, 120_000);

  it("gives no process of it, and no thread, what concerns the host's kernel", () => {
    const processes = machine.processes();
    expect(processes.length).toBeGreaterThan(10);
    for (const { hostPid, argv } of processes) {
      for (const thread of readdirSync(`/proc/${hostPid}/task`)) {
        const status = readFileSync(`/proc/${hostPid}/task/${thread}/status`, "utf8");
        const bounds = BigInt(`0x${/^CapBnd:\s+(\w+)/m.exec(status)?.[1]}`);
        const has = Object.entries(kernelCapabilities).filter(([, bit]) => (bounds >> BigInt(bit)) & 1n);
        expect([argv, has]).toEqual([argv, []]);
      }
    }
  });

  it("lets root in it set its own network and nothing else of the kernel", async () => {
    await look.call("fs.write", { path: "/srv/attempts.cjs", content: attempts });
    const argv = [layout.node, "/srv/attempts.cjs"];
    await look.call("service.define", { name: "attempts", argv, restart: "never", start: true });
    await expect.poll(() => look.exists("/srv/tried.json"), { timeout: 60_000, interval: 200 }).toBe(true);
    const files = JSON.parse(await look.content("/srv/tried.json"));
    expect(files["/proc/sys/net/ipv4/tcp_syncookies"]).toBe("ok");
    const others = Object.entries(files).filter(([path]) => !path.startsWith("/proc/sys/net/"));
    expect(others.filter(([, result]) => result !== "EROFS" && result !== "ENOENT")).toEqual([]);
  }, 120_000);

  it("has its data in a volume with an end, which its host has as one file", () => {
    const [init] = machine.processes();
    const { blocks, bsize } = statfsSync(`/proc/${init?.hostPid}/root/srv`);
    expect(blocks * bsize).toBeLessThanOrEqual(dataDiskBytes);
    const file = statSync(`${fleet.folder("kept")}/data.ext4`);
    expect(file.size).toBe(dataDiskBytes);
    expect(file.blocks * 512).toBeLessThan(dataDiskBytes / 4);
  });

  it("finds its data again", async () => {
    look.close();
    await machine.powerOff();
    machine = await fleet.boot({ lane: "native", name: "kept" });
    look = probe(machine);
    expect(await look.exists("/srv/tried.json")).toBe(true);
    look.close();
    await machine.powerOff();
  }, 120_000);
});
