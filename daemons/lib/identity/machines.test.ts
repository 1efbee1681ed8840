import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { accessTo, endedMachine, othersThan, readMachines, rememberMachine, withPort } from "./machines.ts";
import { ensureOperatorIdentity } from "./operator.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-machines-");
});
afterEach(() => rmSync(folder, { recursive: true }));

const machine = { address: "10.0.0.2:9090", name: "aios", identity: "." };

describe("machines", () => {
  it("remembers machines; the first is the default, and a known one is replaced", () => {
    expect(readMachines(folder)).toEqual({ machines: {} });
    rememberMachine(folder, "lab", machine);
    rememberMachine(folder, "attic", { ...machine, identity: "machines/attic" });
    rememberMachine(folder, "lab", { ...machine, address: "10.0.0.9:9090" });
    expect(readMachines(folder)).toEqual({
      default: "lab",
      machines: { lab: { ...machine, address: "10.0.0.9:9090" }, attic: { ...machine, identity: "machines/attic" } },
    });
  });

  it("knows of a machine that ran on this computer when it has ended, and which others there are", () => {
    const up = (process: number) => ({ ...machine, up: { process, command: "npm run up" } });
    const { pid: gone } = spawnSync("true");
    rememberMachine(folder, "aios-qemu", up(gone));
    rememberMachine(folder, "aios-native", up(process.pid));
    rememberMachine(folder, "lab", machine);
    const known = readMachines(folder);
    expect(Object.values(known.machines).map(endedMachine)).toEqual(["npm run up", undefined, undefined]);
    expect(othersThan("aios-qemu", known)).toEqual(["aios-native", "lab"]);
    expect(othersThan("lab", known)).toEqual(["aios-native"]);
  });

  it("names file, line and key of what it cannot read", () => {
    writeFileSync(
      join(folder, "machines.toml"),
      '[machines.lab]\naddress = "a:1"\nname = "aios"\nidentity = "../../etc"\n',
    );
    expect(() => readMachines(folder)).toThrow(/machines\.toml:4: machines\.lab\.identity/);
    expect(() => rememberMachine(folder, "../x", machine)).toThrow("remember machine");
  });

  it("gives access with the identity that the machine knows, and says what to do without one", async () => {
    expect(() => accessTo(folder, machine)).toThrow(
      expect.objectContaining({ code: "FAILED_PRECONDITION", message: expect.stringContaining("operator.pem") }),
    );
    await ensureOperatorIdentity(folder);
    expect(accessTo(folder, machine)).toMatchObject({
      target: "10.0.0.2:9090",
      options: { "grpc.ssl_target_name_override": "aios" },
    });
  });

  it("adds the port to a host that has none", () => {
    expect(["aios", "aios:1", "10.0.0.2", "::1", "[::1]:7"].map((host) => withPort(host, 9090))).toEqual([
      "aios:9090",
      "aios:1",
      "10.0.0.2:9090",
      "[::1]:9090",
      "[::1]:7",
    ]);
  });
});
