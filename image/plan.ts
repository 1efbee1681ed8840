import type { Archive } from "./archive/sources.ts";
import { type Profile, profileSpecs } from "./profile.ts";
import type { Step } from "./step.ts";
import { buildrootStep } from "./steps/buildroot.ts";
import { bundlesStep } from "./steps/bundles.ts";
import { diskStep } from "./steps/disk.ts";
import { erofsStep } from "./steps/erofs.ts";
import { type GpuInputs, gpuStep } from "./steps/gpu.ts";
import { grubStep } from "./steps/grub.ts";
import { kernelStep } from "./steps/kernel.ts";
import { kernelSourceStep } from "./steps/kernel-source.ts";
import { knowledgeStep } from "./steps/knowledge.ts";
import { manualsStep } from "./steps/manuals.ts";
import { type BuilderModel, modelStep } from "./steps/model.ts";
import { modulesStep } from "./steps/modules.ts";
import { packagesOf, packagesStep } from "./steps/packages.ts";
import { rootStep } from "./steps/root.ts";

/** Everything that decides what a build makes, beside the repository's files. */
export interface BuildInputs {
  readonly profile: Profile;
  readonly archive: Archive;
  readonly allowDrift: boolean;
  /** The commit that is built, "unknown" outside a git checkout. */
  readonly commit: string;
  /** When it was committed, milliseconds since the epoch: the machine's clock is never behind it. */
  readonly committedAt: number;
  readonly version: string;
  readonly diskSizeMiB: number;
  /** Models that the builder adds to the image's own. */
  readonly models: readonly BuilderModel[];
  readonly gpu: GpuInputs;
}

/** What can be asked for, and the step that makes it (`PROFILE` stands for the profile, `PACKAGES` for the step of its packages). */
export const targets = {
  buildroot: "buildroot",
  source: "kernel-source",
  packages: "PACKAGES",
  vmlinuz: "kernel-PROFILE",
  root: "root-PROFILE",
  erofs: "erofs-PROFILE",
  disk: "disk-PROFILE",
} as const;
export type Target = keyof typeof targets;

/** The step that makes a target for a profile. */
export function stepOf(target: Target, profile: Profile): string {
  return targets[target].replace("PROFILE", profile).replace("PACKAGES", packagesOf(profile).step);
}

/** All steps of an image, in an order in which each comes after its needs. Pure: it reads nothing and runs nothing. */
export function planImage(inputs: BuildInputs): readonly Step[] {
  const { archive, profile, allowDrift } = inputs;
  return [
    buildrootStep(archive),
    kernelSourceStep(archive, allowDrift),
    kernelStep(profile, profileSpecs[profile].fragments),
    packagesStep(archive, allowDrift, profile),
    modulesStep(),
    bundlesStep(),
    modelStep(inputs.models),
    gpuStep(inputs.gpu),
    manualsStep(archive),
    knowledgeStep(),
    rootStep(inputs),
    erofsStep(profile),
    grubStep(),
    diskStep(profile, inputs.diskSizeMiB),
  ];
}

/** The steps that `wanted` need, in plan order. */
export function stepsFor(plan: readonly Step[], wanted: readonly string[]): readonly Step[] {
  const included = new Set<string>();
  const include = (name: string): void => {
    const step = plan.find((candidate) => candidate.name === name);
    if (step === undefined) throw new Error(`no step ${name}; there are ${plan.map((each) => each.name).join(", ")}`);
    included.add(name);
    step.needs.forEach(include);
  };
  wanted.forEach(include);
  return plan.filter((step) => included.has(step.name));
}
