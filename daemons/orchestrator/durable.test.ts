import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { type Fits, openDurable } from "./durable.ts";
import { type AutonomyRecord, isAutonomyRecord, openAutonomy } from "./initiative/autonomy.ts";
import { isServiceList, type RegisteredService } from "./initiative/registry.ts";
import { isScheduleList, type Schedule } from "./initiative/schedules.ts";
import { stopNoteIn } from "./initiative/stop-note.ts";
import { type Given, isGivenMap } from "./initiative/triggers.ts";

let folder: string;
let told: string[];
const clock = new ManualClock();
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-durable-");
  told = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const schedule: Schedule = {
  ...{ id: "s", cron: "0 3 * * *", timeZone: "UTC", goal: "g", priority: 1, by: "operator:a", role: "admin" as const },
  ...{ createdAt: 1, lastRun: 0, nextRun: 2, lastGoal: "" },
};
const registered: RegisteredService = {
  ...{ name: "n", address: "127.0.0.1", port: 1, protocol: "tcp", healthCheckPath: "" },
  ...{ managedBy: "", registeredBy: "core", registeredAt: 1 },
};
const given: Readonly<Record<string, Given>> = { "t s": { goal: "g", at: 1, row: 1 } };
const stopped: AutonomyRecord = { level: "", stop: { by: "core", reason: "what was kept is unreadable", at: 1 } };

interface Kind {
  readonly name: string;
  readonly initial: unknown;
  readonly value: unknown;
  readonly fits: Fits;
  readonly whenUnreadable?: unknown;
}

const kinds: readonly Kind[] = [
  { name: "schedules", initial: [], value: [schedule], fits: isScheduleList },
  { name: "services", initial: [], value: [registered], fits: isServiceList },
  { name: "triggers", initial: {}, value: given, fits: isGivenMap },
  {
    name: "autonomy",
    initial: { level: "" },
    value: { level: "manual" },
    fits: isAutonomyRecord,
    whenUnreadable: stopped,
  },
];

const pathOf = ({ name }: Kind) => `${folder}/${name}.json`;
const open = ({ name: _, value: __, ...kind }: Kind, path: string) =>
  openDurable({ ...kind, path, clock, lost: (text) => void told.push(text) });

/** What becomes of a file. */
const fates: Readonly<Record<string, (path: string) => void>> = {
  empty: (path) => truncateSync(path, 0),
  torn: (path) => truncateSync(path, Math.floor(readFileSync(path).length / 2)),
  random: (path) => writeFileSync(path, randomBytes(200)),
  "zeros, as after a power cut": (path) => writeFileSync(path, Buffer.alloc(200)),
  "a folder": (path) => {
    rmSync(path);
    mkdirSync(path);
  },
  ...Object.fromEntries(
    ["null", "5", '"x"', "[5]", '[{"id":"s"}]', '{"a":5}', '{"level":"all"}', '{"level":"","stop":{}}', "[null]"].map(
      (text) => [text, (path: string) => writeFileSync(path, text)] as const,
    ),
  ),
};

describe.each(kinds)("$name", (kind) => {
  it("is there again", () => {
    open(kind, pathOf(kind)).set(kind.value);
    expect(open(kind, pathOf(kind)).value).toEqual(kind.value);
    expect(told).toEqual([]);
  });

  it.each(Object.keys(fates))("that is %s is moved aside and said, and what is set then is kept", (fate) => {
    const path = pathOf(kind);
    open(kind, path).set(kind.value);
    fates[fate]?.(path);
    const record = open(kind, path);
    // Kept twice, it is what it was; else it begins anew.
    expect(record.value).toEqual(kind.whenUnreadable === undefined ? kind.initial : kind.value);
    expect(told).toEqual([expect.stringMatching(/\.json cannot be read \(.*what was there is in .*\.aside-/s)]);
    expect(readdirSync(folder).some((name) => name.includes(".aside-"))).toBe(true);
    record.set(kind.value);
    expect(open(kind, path).value).toEqual(kind.value);
    expect(told).toHaveLength(1);
  });
});

describe("how far the machine acts by itself", () => {
  const kind = kinds.at(-1) as Kind;
  const files = [".json", ".json.copy"].map((end) => `autonomy${end}`);

  it.each(files)("is not raised by the loss of %s", (file) => {
    open(kind, pathOf(kind)).set(kind.value);
    rmSync(`${folder}/${file}`);
    expect(open(kind, pathOf(kind)).value).toEqual({ level: "manual" });
    expect(told).toEqual(file.endsWith("copy") ? [] : [expect.stringContaining("is missing; its copy is used")]);
  });

  it("is nothing when neither of its files can be read", () => {
    open(kind, pathOf(kind)).set(kind.value);
    for (const file of files) writeFileSync(`${folder}/${file}`, "{");
    expect(open(kind, pathOf(kind)).value).toEqual(stopped);
    expect(told).toHaveLength(1);
  });

  it.each(["{", '{"by":1}', ""])("is a stop where the note of one holds %j", (content) => {
    const note = stopNoteIn(`${folder}/stop.json`);
    expect(note.read(1)).toBeUndefined();
    writeFileSync(`${folder}/stop.json`, content);
    expect(note.read(1)).toMatchObject({ by: "core", reason: expect.stringContaining("cannot be read"), at: 1 });
    note.write(undefined);
    expect(note.read(1)).toBeUndefined();
  });

  it.runIf(process.getuid?.() === 0)(
    "is lowered at once by a stop on a full disk, and stored when there is room",
    async () => {
      const volume = `${folder}/volume`;
      mkdirSync(volume);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", volume]);
      try {
        const record = open(kind, `${volume}/autonomy.json`) as ReturnType<typeof openDurable<AutonomyRecord>>;
        record.set({ level: "full" });
        const filler = `${volume}/filler`;
        try {
          writeFileSync(filler, Buffer.alloc(1_000_000));
        } catch {
          // Full.
        }
        expect(() => record.set({ level: "manual" })).toThrow(
          expect.objectContaining({ code: "RESOURCE_EXHAUSTED", message: expect.stringMatching(/full; make room/) }),
        );
        expect(record.value).toEqual({ level: "full" });
        const held: string[] = [];
        const goals = { hold: async (why: string) => void held.push(why), release: async () => {} };
        const note = stopNoteIn(`${folder}/stop.json`);
        const parts = { note, goals, clock, log: silentLog, freezeAgents: () => {}, hold: async () => {} };
        const autonomy = openAutonomy({ ...parts, record, configured: "full" });
        await autonomy.emergencyStop("operator:a", "smoke");
        expect(autonomy.unstored).toMatch("full");
        const again = open(kind, `${volume}/autonomy.json`) as typeof record;
        expect(again.value).toEqual({ level: "full" });
        expect(openAutonomy({ ...parts, record: again, configured: "full" }).stop).toMatchObject({ reason: "smoke" });
        held.pop();
        expect(held).toEqual(["the machine was stopped by operator:a: smoke"]);
        expect(() => autonomy.permit("person")).toThrow(/stopped by operator:a/);
        const stored = () => JSON.parse(readFileSync(`${volume}/autonomy.json`, "utf8"));
        await clock.advance(5_000);
        expect(stored()).toEqual({ level: "full" });
        rmSync(filler);
        await clock.advance(5_000);
        expect(stored().stop).toMatchObject({ by: "operator:a", reason: "smoke" });
        expect(autonomy.unstored).toBe("");
      } finally {
        execFileSync("umount", [volume]);
      }
    },
  );
});
