import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ManualClock } from "#lib/clock";
import { keySteps, type Step, StepCache } from "./step.ts";

let repository: string;
let cache: StepCache;
let clock: ManualClock;
const noNeed = () => {
  throw new Error("nothing is needed");
};

beforeEach(() => {
  repository = mkdtempSync(join(tmpdir(), "aios-step-"));
  mkdirSync(join(repository, "source"));
  writeFileSync(join(repository, "source/a.ts"), "a");
  clock = new ManualClock();
  cache = new StepCache(join(repository, "cache"), clock);
});
afterEach(() => rmSync(repository, { recursive: true }));

const base: Step = {
  name: "base",
  modules: [],
  files: [],
  params: {},
  needs: [],
  run: async ({ out }) => writeFileSync(join(out, "result"), "base"),
};

const keyOf = (steps: readonly Step[], name: string) =>
  keySteps(steps, repository).find(({ step }) => step.name === name)?.key;

test("a key changes with the name, a file, a file's mode, a param and a need, and with nothing else", () => {
  const step: Step = { ...base, name: "one", files: ["source"], params: { level: 1 }, needs: ["base"] };
  const key = () => keyOf([base, step], "one");
  const before = key();
  expect(key()).toBe(before);
  expect(keyOf([base, { ...step, run: async () => {} }], "one")).toBe(before);
  expect(keyOf([base, { ...step, params: { level: 2 } }], "one")).not.toBe(before);
  expect(keyOf([base, { ...step, name: "two" }], "two")).not.toBe(before);
  expect(keyOf([{ ...base, params: { x: 1 } }, step], "one")).not.toBe(before);
  writeFileSync(join(repository, "source/a.test.ts"), "tests are not part of the image");
  expect(key()).toBe(before);
  writeFileSync(join(repository, "source/b.ts"), "b");
  expect(key()).not.toBe(before);
});

test("a declared file that is missing is named", () => {
  expect(() => keySteps([{ ...base, files: ["nowhere.ts"] }], repository)).toThrow("hash nowhere.ts");
});

test("a need that is not before its step is refused", () => {
  expect(() => keySteps([{ ...base, name: "late", needs: ["base"] }, base], repository)).toThrow("needs base");
});

test("an output is kept under its key and says why it would be built again", async () => {
  const step = (level: number): Step => ({ ...base, files: ["source"], params: { level } });
  const keyed = (level: number) =>
    keySteps([step(level)], repository)[0] as NonNullable<ReturnType<typeof keySteps>[0]>;
  expect(cache.reason(keyed(1))).toBe("never built");
  await cache.build(keyed(1), repository, noNeed);
  expect(readFileSync(join(cache.output(keyed(1)), "result"), "utf8")).toBe("base");
  expect(cache.reason(keyed(1))).toBeUndefined();
  expect(cache.reason(keyed(2))).toBe("param level changed");
  writeFileSync(join(repository, "source/a.ts"), "changed");
  expect(cache.reason(keyed(1))).toBe("source/a.ts changed");
});

test("a step that fails leaves its log and nothing else, and the error shows the log's tail", async () => {
  const failing: Step = {
    ...base,
    run: async ({ out, log }) => {
      writeFileSync(join(out, "half"), "written");
      log.line("cc: no such option");
      throw new Error("exit 2");
    },
  };
  const [keyed] = keySteps([failing], repository);
  if (keyed === undefined) throw new Error("no step");
  const error = await cache.build(keyed, repository, noNeed).catch((thrown: unknown) => thrown);
  expect(String(error)).toContain("build base: exit 2");
  expect(String(error)).toContain("cc: no such option");
  expect(String(error)).toContain(join(cache.logs, "base.log"));
  expect(readdirSync(cache.folder)).toEqual([]);
  expect(existsSync(join(cache.logs, "base.log"))).toBe(true);
});

const minute = 60_000;

/** Builds an output of step `name`, and moves the time on by a minute. Gives back its folder's name. */
async function buildOne(name: string, level: number): Promise<string> {
  const [keyed] = keySteps([{ ...base, name, params: { level } }], repository);
  if (keyed === undefined) throw new Error("no step");
  await cache.build(keyed, repository, noNeed);
  cache.touch(keyed);
  await clock.advance(minute);
  return `${name}-${keyed.key}`;
}

test("of old outputs the two used last are kept, and those of a step with a longer name are not touched", async () => {
  const kept = [await buildOne("base", 1), await buildOne("base-qemu", 1)];
  const old = await buildOne("base", 2);
  await buildOne("base", 1);
  kept.push(await buildOne("base", 3));
  await clock.advance(31 * minute);
  expect(readdirSync(cache.folder)).toContain(old);
  cache.prune("base");
  expect(readdirSync(cache.folder).sort()).toEqual(kept.sort());
});

test("an output that a machine may be running from is kept, up to eight", async () => {
  for (let level = 1; level <= 5; level++) await buildOne("base", level);
  cache.prune("base");
  expect(readdirSync(cache.folder)).toHaveLength(5);
  for (let level = 6; level <= 12; level++) await buildOne("base", level);
  cache.prune("base");
  expect(readdirSync(cache.folder)).toHaveLength(8);
});

test("what an interrupted build left is swept away, outputs stay", async () => {
  const [keyed] = keySteps([base], repository);
  if (keyed === undefined) throw new Error("no step");
  await cache.build(keyed, repository, noNeed);
  mkdirSync(join(cache.folder, "kernel-0123.new/build"), { recursive: true });
  cache.sweep();
  expect(readdirSync(cache.folder)).toEqual([`base-${keyed.key}`]);
});
