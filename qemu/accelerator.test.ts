import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { acceleratorArguments, chooseAccelerator, type RunQemu } from "./accelerator.ts";

let folder: string;
let runs: (readonly string[])[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aios-accelerator-"));
  runs = [];
});

afterEach(() => rmSync(folder, { recursive: true }));

const answering =
  (status: number | undefined): RunQemu =>
  async (args) => {
    runs.push(args);
    return status;
  };

const choose = (run: RunQemu, nowMs = 1_000_000) =>
  chooseAccelerator({ cacheFile: join(folder, "cache/kvm.json"), nowMs, run });

describe("chooseAccelerator", () => {
  it("takes KVM when the tiny guest ends QEMU with its own status", async () => {
    expect(await choose(answering(33))).toBe("kvm");
    expect(runs[0]).toEqual(expect.arrayContaining(["-accel", "kvm"]));
  });

  it.each([
    ["hangs until the deadline", undefined],
    ["aborts", 134],
    ["is refused", 1],
  ])("falls back to TCG when the guest %s", async (_, status) => {
    expect(await choose(answering(status))).toBe("tcg");
  });

  it("boots the guest once and remembers, for a week", async () => {
    await choose(answering(undefined));
    expect(await choose(answering(33), 1_000_001)).toBe("tcg");
    expect(runs).toHaveLength(1);
    expect(await choose(answering(33), 1_000_000 + 8 * 24 * 3_600_000)).toBe("kvm");
    expect(runs).toHaveLength(2);
  });

  it("asks again when what it remembers cannot be read", async () => {
    await choose(answering(undefined));
    writeFileSync(join(folder, "cache/kvm.json"), '{"accelerator":"hvf"');
    expect(await choose(answering(33))).toBe("kvm");
  });

  it("runs TCG with one thread per processor", () => {
    expect(acceleratorArguments("tcg")).toEqual(["-accel", "tcg,thread=multi", "-cpu", "max"]);
  });
});
