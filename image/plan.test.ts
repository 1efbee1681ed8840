import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BuildInputs, planImage, stepOf, stepsFor, type Target, targets } from "./plan.ts";
import { profiles } from "./profile.ts";
import { keySteps } from "./step.ts";

const repository = resolve(import.meta.dirname, "..");
const inputs: BuildInputs = {
  profile: "qemu",
  archive: { mirror: { debian: "http://mirror.example/debian" }, aptOptions: [] },
  allowDrift: false,
  commit: "c0ffee",
  committedAt: 1_790_000_000_000,
  version: "0.0.0",
  diskSizeMiB: 4096,
  models: [],
  gpu: { vulkan: false },
};

test.each(profiles)("the plan of %s is the same each time and every need comes before its step", (profile) => {
  const describe = () => JSON.stringify(planImage({ ...inputs, profile }));
  expect(describe()).toBe(describe());
  const seen = new Set<string>();
  for (const step of planImage({ ...inputs, profile })) {
    for (const need of step.needs) expect(seen).toContain(need);
    seen.add(step.name);
  }
});

let copy: string;
let before: ReadonlyMap<string, string>;
const keys = () => new Map(keySteps(planImage(inputs), copy).map(({ step, key }) => [step.name, key]));

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "aios-plan-"));
  const files = ["package.json", "package-lock.json", "tsconfig.json"];
  for (const name of ["image", "daemons", "proto", "rootfs", "kernel-config", ...files])
    cpSync(join(repository, name), join(copy, name), { recursive: true });
  before = keys();
});
afterAll(() => rmSync(copy, { recursive: true }));

/** The steps that have another key when these files of the repository are changed so. */
function changedBy(changes: Readonly<Record<string, (text: string) => string>>): string[] {
  try {
    for (const [file, change] of Object.entries(changes)) {
      const text = readFileSync(join(copy, file), "utf8");
      expect(change(text), file).not.toBe(text);
      writeFileSync(join(copy, file), change(text));
    }
    const after = keys();
    return [...before].filter(([name, key]) => after.get(name) !== key).map(([name]) => name);
  } finally {
    for (const file of Object.keys(changes)) cpSync(join(repository, file), join(copy, file));
  }
}

const withComment = (text: string) => `${text}\n// A word more.\n`;

test("the time that every step is told is an input of each that works in the build root", () => {
  const changed = changedBy({
    "image/build-root.ts": (text) => text.replace("epochSeconds = 1_767_225_600", "epochSeconds = 1_767_225_601"),
  });
  const inBuildRoot = ["kernel-source", "kernel-qemu", "packages", "modules", "manuals", "root-qemu", "erofs-qemu"];
  // Knowledge needs the manuals, and the GPUs' back ends lie where the modules do.
  expect(changed.sort()).toEqual([...inBuildRoot, "knowledge", "gpu", "grub", "disk-qemu"].sort());
});

test("a step's code is none of another's, and what is taken for its types alone is nobody's", () => {
  const changed = ["manuals", "knowledge", "root-qemu", "erofs-qemu", "disk-qemu"];
  expect(changedBy({ "image/steps/manuals.ts": withComment })).toEqual(changed);
  const cache = ["image/step.ts", "image/image.ts", "image/plan.ts", "image/profile.ts", "image/log.ts"];
  expect(changedBy(Object.fromEntries(cache.map((file) => [file, withComment])))).not.toContain("kernel-qemu");
});

test("what a daemon is made of is an input of the bundles, and its tests are not", () => {
  const made = ["daemons/lib/rpc/client.ts", "proto/gen/aios/init.ts", "tsconfig.json"];
  for (const file of made) expect(changedBy({ [file]: withComment })).toContain("bundles");
  expect(
    changedBy({ "daemons/lib/rpc/rpc.test.ts": withComment, "daemons/ctl/testing/twins.ts": withComment }),
  ).toEqual([]);
});

test("every target leads to a step", () => {
  const plan = planImage(inputs);
  for (const target of Object.keys(targets) as Target[]) stepsFor(plan, [stepOf(target, "qemu")]);
  expect(() => stepsFor(plan, ["kitchen"])).toThrow("no step kitchen");
});

test("the kernel alone needs neither packages nor bundles", () => {
  expect(stepsFor(planImage(inputs), ["kernel-qemu"]).map(({ name }) => name)).toEqual([
    "buildroot",
    "kernel-source",
    "kernel-qemu",
  ]);
});

test("a proxy of the host changes no key; a mirror does", () => {
  const keys = (archive: BuildInputs["archive"]) =>
    keySteps(planImage({ ...inputs, archive }), repository).map(({ key }) => key);
  const { mirror } = inputs.archive;
  expect(keys({ mirror, aptOptions: ['Acquire::http::Proxy "http://p.example";'] })).toEqual(keys(inputs.archive));
  expect(keys({ mirror: { debian: "http://other.example/debian" }, aptOptions: [] })).not.toEqual(keys(inputs.archive));
});

test("a commit changes the root and what is made of it, and nothing before it", () => {
  const keys = (commit: string) =>
    new Map(keySteps(planImage({ ...inputs, commit }), repository).map(({ step, key }) => [step.name, key]));
  const [before, after] = [keys("c0ffee"), keys("beef")];
  const changed = [...before].filter(([name, key]) => after.get(name) !== key).map(([name]) => name);
  expect(changed).toEqual(["root-qemu", "erofs-qemu", "disk-qemu"]);
});
