import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import type { BuildEvent, Count } from "./events.ts";
import { tellBuild } from "./tell.ts";

const progress = (step: string, seconds: number, count?: Count, leftMs?: number): BuildEvent => ({
  ...{ kind: "progress", step, elapsedMs: seconds * 1_000, expectedMs: 600_000, count, leftMs },
});

/** What is written when each second an event comes. */
function written(events: readonly BuildEvent[], terminal?: { columns: number }, json = false): string {
  let text = "";
  const write = (more: string) => {
    text += more;
  };
  events.forEach(tellBuild({ write, ...(terminal && { isTTY: true, ...terminal }) }, json));
  return text;
}

const kernel = (seconds: number) =>
  progress("kernel-qemu", seconds, { unit: "objects", done: seconds * 10, total: 1_900 }, 300_000 - seconds * 1_000);
const packages = (seconds: number) => progress("packages", seconds, { unit: "MB", done: seconds / 2, total: 76.4 });
const build: BuildEvent[] = [
  { kind: "planned", stale: 2, steps: 14, ms: 840_000, cores: 2, by: "the table" },
  { kind: "started", step: "kernel-qemu", why: "never built" },
  { kind: "started", step: "packages", why: "never built" },
  ...Array.from({ length: 65 }, (_, index) => [kernel(index + 1), packages(index + 1)]).flat(),
  { kind: "built", step: "packages", ms: 65_400 },
  { kind: "remark", step: "kernel-qemu", text: "it compiled 950 objects" },
  { kind: "built", step: "kernel-qemu", ms: 70_000 },
  { kind: "over", ms: 70_000 },
];

test("without a terminal: how long it will take, and a line each 30 seconds of each step that runs", () => {
  expect(written(build).split("\n")).toEqual([
    "image: 2 of 14 steps to build, about 14 min on 2 cores (by the times of another machine: nothing was built here yet)",
    "image: kernel-qemu … (never built)",
    "image: packages … (never built)",
    "image: kernel-qemu 300 of 1,900 objects, 5 min left",
    "image: packages 15 of 76 MB, 30 s of about 10 min",
    "image: kernel-qemu 600 of 1,900 objects, 4 min left",
    "image: packages 30 of 76 MB, 1 min 0 s of about 10 min",
    "image: packages built, 65.4 s",
    "image: kernel-qemu: it compiled 950 objects",
    "image: kernel-qemu built, 70.0 s",
    "",
  ]);
});

test("at a terminal: one line that moves, no wider than it, and gone when another line is said", () => {
  const text = written(build.slice(0, 7), { columns: 60 });
  const moves = text.split("\r").slice(1).map(stripVTControlCharacters);
  expect(moves.every((line) => [...line].length < 60)).toBe(true);
  expect(text).toContain("\rimage: kernel-qemu 10 of 1,900 objects, 5 min left | packag\u001b[K");
  expect(text).not.toMatch(/left\n/);
  expect(written(build, { columns: 200 })).toContain("\r\u001b[Kimage: packages built, 65.4 s\n");
  expect(written(build, { columns: 200 }).endsWith("\r\u001b[Kimage: kernel-qemu built, 70.0 s\n")).toBe(true);
});

test("for programs: each event as JSON, a running step's each five seconds", () => {
  const events = written(build, undefined, true).trimEnd().split("\n");
  const parsed = events.map((line) => JSON.parse(line) as BuildEvent);
  expect(parsed[0]).toEqual(build[0]);
  expect(parsed.filter(({ kind }) => kind === "progress")).toHaveLength(26);
  expect(parsed.at(-1)).toEqual({ kind: "over", ms: 70_000 });
});

test("more than was expected is no share of it, and what is quick is not worth a line", () => {
  const more = progress("kernel-qemu", 631, { unit: "objects", done: 2_000, total: 1_900 });
  expect(written([more])).toBe("image: kernel-qemu 2,000 objects, 10 min 31 s, longer than expected\n");
  const little = progress("manuals", 30, { unit: "MB", done: 0.25, total: 0.9 });
  expect(written([little])).toBe("image: manuals 0.3 of 0.9 MB, 30 s of about 10 min\n");
  expect(written([{ kind: "planned", stale: 0, steps: 14, ms: 0, cores: 2, by: "this machine" }])).toBe("");
  expect(written([{ kind: "cached", step: "packages" }])).toBe("");
});
