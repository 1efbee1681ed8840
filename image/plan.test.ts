import { resolve } from "node:path";
import { expect, test } from "vitest";
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

test("every file a step declares exists, and its own module is among them", () => {
  for (const { step, inputs: declared } of keySteps(planImage(inputs), repository)) {
    const module = `file:image/steps/${step.name.replace(/-qemu$/, "")}.ts`;
    expect(Object.keys(declared)).toContain(module);
  }
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
