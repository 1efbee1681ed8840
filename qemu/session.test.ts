import { mkdtempSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readMachines, rememberMachine, writeMachines } from "#lib/identity/machines";
import { lanes } from "./machine.ts";
import { remember } from "./session.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-session-");
});
afterEach(() => rmSync(folder, { recursive: true }));

test.each(lanes)(
  "a machine of the lane %s is the one that aiosctl speaks to, whatever a person had chosen before",
  (lane) => {
    rememberMachine(folder, "lab", { address: "10.0.0.2:9090", name: "aios", identity: "machines/lab" });
    writeMachines(folder, { ...readMachines(folder), default: "lab" });
    remember({ name: `aios-${lane}`, target: "127.0.0.1:40123", lane }, folder);
    const { default: usual, machines } = readMachines(folder);
    expect(usual).toBe(`aios-${lane}`);
    expect(machines[`aios-${lane}`]).toMatchObject({ address: "127.0.0.1:40123", up: { process: process.pid } });
    expect(machines[`aios-${lane}`]?.up?.command).toBe(lane === "qemu" ? "npm run up" : `npm run up -- --lane ${lane}`);
    expect(Object.keys(machines)).toContain("lab");
    expect(statSync(join(folder, "machines.toml")).mode & 0o777).toBe(0o600);
  },
);
