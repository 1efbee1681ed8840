/** What the machine says of itself: screen, phases, faults. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { consoleLines } from "#manifest";
import { type Faults, openFaults } from "./base/faults.ts";
import { shownMessage } from "./boot/console-lines.ts";
import type { Phase } from "./boot/phases.ts";
import { type Boot, bootId, openBoot } from "./boot/timeline.ts";
import { checkSpace, checkWritable, spaceMinBytes } from "./disks/space.ts";
import { openScreen, printable, type Screen } from "./early/screen.ts";

let clock: ManualClock;
let said: string[];
let screen: Screen;
let faults: Faults;
let folder: string;

beforeEach(() => {
  clock = new ManualClock(1_000);
  said = [];
  screen = { say: (line) => said.push(line), fault: (act) => said.push(`fault: ${act}`), onLine: () => {} };
  faults = openFaults();
  folder = mkdtempSync("/tmp/aios-story-");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A phase that does what the test says. */
function phase(
  name: string,
): Phase & { done: () => void; giveUp: (detail: string) => void; fail: (why: string) => void } {
  let [done, fail] = [() => {}, (_why: string) => {}];
  const aim = new Promise<void>((resolve, reject) => {
    done = resolve;
    fail = (why) => reject(new Error(why));
  });
  const self = { name, done: () => done(), fail: (why: string) => fail(why), giveUp: (_: string) => {} };
  return Object.assign(self, {
    run: (giveUp: (detail: string) => void) => {
      self.giveUp = giveUp;
      return aim;
    },
  });
}

describe("the boot's phases", () => {
  const names = ["hardware", "runtime", "core"] as const;
  let phases: ReturnType<typeof phase>[];
  let boot: Boot;
  let good: number;
  let running: Promise<void>;

  beforeEach(() => {
    good = 0;
    phases = names.map(phase);
    const facts = { id: "b", version: "1", firstJavascriptMs: 5, names };
    boot = openBoot(facts, faults, screen, clock, () => {
      good += 1;
    });
    running = boot.run(phases);
  });

  it("are reported in their order, whatever the order they come in", async () => {
    phases[2]?.done();
    await clock.advance(100);
    expect(said).toEqual([]);
    phases[0]?.done();
    await clock.advance(50);
    phases[1]?.done();
    await clock.advance(0);
    await running;
    expect(said).toEqual([
      "phase 1/4 hardware: ready, 100 ms",
      "phase 2/4 runtime: ready, 50 ms",
      "phase 3/4 core: ready, 0 ms",
      "phase 4/4 autonomy: ready, 0 ms",
      `${consoleLines.ready}, 1.1 s after kernel start`,
    ]);
    expect([boot.state(), boot.autonomyMs(), good]).toEqual(["autonomous", 1_150, 1]);
    expect(boot.phases.map(({ startedMs }) => startedMs)).toEqual([1_000, 1_100, 1_150, 1_150]);
  });

  it("that are given up leave the boot degraded, and it is autonomous when they come after all", async () => {
    phases[0]?.done();
    phases[1]?.giveUp("no model; put one there");
    phases[2]?.done();
    await clock.advance(0);
    await running;
    expect(said).toEqual([
      "phase 1/4 hardware: ready, 0 ms",
      "phase 2/4 runtime: degraded, 0 ms: no model; put one there",
      "phase 3/4 core: ready, 0 ms",
      `${consoleLines.degraded}: runtime: no model; put one there`,
    ]);
    expect([boot.state(), boot.autonomyMs()]).toEqual(["degraded", 0]);
    await clock.advance(5_000);
    phases[1]?.done();
    await clock.advance(0);
    expect(said.slice(4)).toEqual([
      "phase 2/4 runtime: ready, 5000 ms",
      "phase 4/4 autonomy: ready, 0 ms",
      `${consoleLines.ready}, 6.0 s after kernel start`,
    ]);
    expect([boot.state(), boot.faults()]).toEqual(["autonomous", []]);
  });

  it("that fail are given up for good", async () => {
    for (const each of phases) each.fail("broken");
    await clock.advance(0);
    await running;
    expect(boot.state()).toBe("degraded");
    expect(boot.faults()).toEqual(["hardware: broken", "runtime: broken", "core: broken"]);
  });

  it("may be ready on a machine with faults: both are said, and when the last is gone too", async () => {
    faults.raise("config", "config.toml:3: wrong; correct it");
    expect(boot.state()).toBe("booting");
    for (const each of phases) each.done();
    await clock.advance(0);
    await running;
    expect(said[0]).toBe("aios-init: config.toml:3: wrong; correct it");
    expect(said.at(-1)).toBe(`${consoleLines.degraded}: config.toml:3: wrong; correct it`);
    expect(said.at(-2)).toMatch(/^aiOS is autonomous/);
    expect(boot.state()).toBe("degraded");
    faults.raise("space", "full");
    faults.raise("space", "full");
    faults.clear("config");
    faults.clear("config");
    faults.clear("space");
    expect(said.slice(-2)).toEqual([`${consoleLines.degraded}: full`, "aiOS is no longer degraded"]);
    expect(boot.state()).toBe("autonomous");
  });
});

describe("a boot's id", () => {
  it("is a UUIDv7", () => {
    const id = bootId(0x0192_abcd_ef01, "11111111-2222-4333-8444-555555555555");
    expect(id).toBe("0192abcd-ef01-7333-8444-555555555555");
  });
});

describe("the screen", () => {
  it("prints one line without what drives a terminal, and nothing too long", () => {
    expect(printable("a\u001b[2Jb\nc\u0007\u202Ed  ")).toBe("a [2Jb c d");
    expect(printable("x".repeat(1000))).toHaveLength(400);
  });

  it("survives a console and a kernel log that are gone", () => {
    const lines: string[] = [];
    const deaf = openScreen(9_999, join(folder, "nowhere/kmsg"));
    deaf.onLine((line) => lines.push(line));
    deaf.say("hello");
    deaf.fault("do this", new Error("why"));
    expect(lines[0]).toBe("hello");
    expect(lines[1]).toMatch(/^aios-init: do this: why\nError: why/);
  });

  it("writes faults to the kernel's log, as critical", () => {
    const path = join(folder, "kmsg");
    writeFileSync(path, "");
    openScreen(9_999, path).fault("survived an exception", new Error("boom"));
    expect(readFileSync(path, "utf8")).toMatch(/^<2>aios-init: survived an exception: boom Error: boom/);
  });
});

describe("messages for the screen", () => {
  it("are those whose line asks for it", () => {
    expect(shownMessage('{"t":1,"msg":"code ABCD","console":true}')).toBe("code ABCD");
    expect(shownMessage('{"msg":"code","console":"true"}')).toBeUndefined();
    expect(shownMessage('{"msg":"a \\"console\\":true b"}')).toBeUndefined();
    expect(shownMessage('{"msg":5,"console":true}')).toBeUndefined();
    expect(shownMessage('{"msg":"cut","console":true')).toBeUndefined();
    expect(shownMessage('"console":true')).toBeUndefined();
  });
});

describe("space", () => {
  it("is a fault while there is none", () => {
    const total = 100 * spaceMinBytes;
    const check = (free: number) => checkSpace("/", faults, () => ({ free, total }));
    check(spaceMinBytes - 1);
    expect(faults.list()[0]).toMatch(/^data volume: full, 31 MiB left; make room: "aiosctl tool call storage.clean"/);
    check(0.15 * total);
    expect(faults.list()).toEqual([expect.stringMatching(/^data volume: filling up, 85 % used; make room/)]);
    check(0.16 * total);
    expect(faults.list()).toEqual([]);
    checkSpace(folder, faults);
  });

  it("is told when the volume takes no writes any more, as the kernel says of it", () => {
    const mounts = (options: string) =>
      `20 1 254:0 / / ro - erofs /dev/vda ro\n31 20 254:3 / /mnt/data rw,nosuid,nodev,noatime - ext4 /dev/vdb ${options}\n`;
    checkWritable("/mnt/data", faults, mounts("rw,errors=remount-ro"));
    expect(faults.list()).toEqual([]);
    checkWritable("/mnt/data", faults, mounts("ro,errors=remount-ro"));
    expect(faults.list()).toEqual([
      expect.stringMatching(/^data volume: the kernel made it read-only.*"repair the data/),
    ]);
    checkWritable("/mnt/data", faults, mounts("rw,errors=remount-ro"));
    expect(faults.list()).toEqual([]);
    checkWritable("/", faults);
    expect(faults.list()).toEqual([]);
  });
});
