import { readFileSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { join, resolve } from "node:path";
import { AiosError } from "#lib/errors";
import { hostArchive } from "./archive/sources.ts";
import { epochSeconds } from "./build-root.ts";
import { holdLock } from "./cache-lock.ts";
import { command } from "./command.ts";
import { type BuildInputs, planImage, stepOf, stepsFor, type Target } from "./plan.ts";
import { type Profile, profileSpecs } from "./profile.ts";
import type { BuildEvent } from "./progress/index.ts";
import { type BuildReport, linkOutputs, writeReport } from "./report.ts";
import { runSteps } from "./running/index.ts";
import { type KeyedStep, keySteps, StepCache } from "./step.ts";
import { gpuInputs } from "./steps/gpu.ts";
import { readBuilderModels } from "./steps/model.ts";
import { packagesOf } from "./steps/packages.ts";

const repository = resolve(import.meta.dirname, "..");

/** What a host decides for all its builds. */
export interface ImageSettings {
  /** Folder of step outputs. */
  readonly cache: string;
  /** Aborted, with the error to throw, when a build is to end early: what it has finished by then is kept. */
  readonly stop?: AbortSignal;
  /** AIOS_MIRROR: "ADDRESS [SECURITY-ADDRESS]" in place of the host's own apt sources. */
  readonly mirror?: string;
}

/** Reads AIOS_CACHE_DIR and AIOS_MIRROR. */
export function imageSettings(env: NodeJS.ProcessEnv): ImageSettings {
  const mirror = env["AIOS_MIRROR"];
  return { cache: env["AIOS_CACHE_DIR"] ?? join(homedir(), ".cache/aios"), ...(mirror !== undefined && { mirror }) };
}

/** Why a build that was interrupted ends. */
export const interrupted = () =>
  new AiosError("CANCELLED", {
    ...{ act: "build", object: "an image", reason: "it was interrupted" },
    next: "the same command goes on: what was finished is kept",
  });

export interface ImageRequest {
  readonly profile: Profile;
  readonly targets: readonly Target[];
  /** Build with the mirror's packages of today where they differ from the lock; build.json says which. */
  readonly allowDrift?: boolean;
  readonly diskSizeMiB?: number;
  /** Path of a manifest of models (models.toml) whose files and addresses go into the image. */
  readonly models?: string;
  /** Folder with llama.cpp's back end for CUDA and CUDA's libraries. */
  readonly cuda?: string;
  /** Steps that run although their output is cached. */
  readonly force?: readonly string[];
}

/** What was built. Paths of targets that were not asked for (nor needed) are undefined. */
export interface Image {
  readonly profile: Profile;
  /** The kernel (bzImage) for direct boot. */
  readonly vmlinuz: string | undefined;
  /** The root file system as a folder. */
  readonly root: string | undefined;
  /** The same as a read-only image. */
  readonly erofs: string | undefined;
  /** The disk to flash. */
  readonly disk: string | undefined;
  /** A folder with every tool that makes images (mkfs, GRUB, mtools). */
  readonly buildRoot: string;
  readonly report: BuildReport;
  /** The keys of the steps, by name: equal keys, equal inputs. */
  readonly keys: Readonly<Record<string, string>>;
  /** Path of a file in the output of a step. Throws when the step was not part of this build. */
  output(step: string, file: string): string;
}

export const defaultDiskSizeMiB = 4096;

/** A step of the plan, and why it would run (undefined: its output is cached). */
export interface PlannedStep {
  readonly name: string;
  readonly key: string;
  readonly why: string | undefined;
}

interface Prepared {
  readonly plan: readonly KeyedStep[];
  readonly cache: StepCache;
  readonly inputs: BuildInputs;
}

async function prepare(request: ImageRequest, settings: ImageSettings): Promise<Prepared> {
  const inputs: BuildInputs = {
    profile: request.profile,
    archive: await hostArchive(settings.mirror),
    allowDrift: request.allowDrift ?? false,
    ...(await commitOf()),
    version: (JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as { version: string }).version,
    diskSizeMiB: request.diskSizeMiB ?? defaultDiskSizeMiB,
    models: request.models === undefined ? [] : readBuilderModels(resolve(request.models)),
    gpu: gpuInputs(profileSpecs[request.profile].vulkan, request.cuda),
  };
  const wanted = ["buildroot", ...request.targets.map((target) => stepOf(target, request.profile))];
  const plan = keySteps(stepsFor(planImage(inputs), wanted), repository);
  return { plan, cache: new StepCache(settings.cache), inputs };
}

/** The commit, with "+changes" when the working tree differs from it, and its time: that of all files where there is none. */
async function commitOf(): Promise<Pick<BuildInputs, "commit" | "committedAt">> {
  const git = (...argv: string[]) => command(["git", "-c", "safe.directory=*", "-C", repository, ...argv]);
  try {
    const commit = (await git("rev-parse", "HEAD")).trim();
    const committedAt = Number((await git("show", "-s", "--format=%ct", "HEAD")).trim()) * 1000;
    const changes = await git("status", "--porcelain", "--", "daemons", "image", "proto", "rootfs", "kernel-config");
    return { commit: changes === "" ? commit : `${commit}+changes`, committedAt };
  } catch {
    return { commit: "unknown", committedAt: epochSeconds * 1000 };
  }
}

/** What a build would do. Nothing runs. */
export async function explainImage(request: ImageRequest, settings: ImageSettings): Promise<PlannedStep[]> {
  const { plan, cache } = await prepare(request, settings);
  return plan.map((keyed) => ({ name: keyed.step.name, key: keyed.key, why: why(keyed, cache, request) }));
}

function why(keyed: KeyedStep, cache: StepCache, { force = [] }: ImageRequest): string | undefined {
  return cache.reason(keyed) ?? (force.includes(keyed.step.name) ? "asked for" : undefined);
}

/**
 * Builds what is stale of the targets asked for, reporting progress to `log`, and links the results into `out/`.
 * Throws when a step fails: nothing of it is kept but its log.
 */
export async function buildImage(
  request: ImageRequest,
  settings: ImageSettings,
  log: (event: BuildEvent) => void = () => {},
): Promise<Image> {
  requireRoot();
  const lock = join(settings.cache, "lock");
  const release = await holdLock(lock, () => log({ kind: "waiting", lock }), settings.stop);
  try {
    const prepared = await prepare(request, settings);
    const reason = (keyed: KeyedStep) => why(keyed, prepared.cache, request);
    const ran = await runSteps({
      ...prepared,
      repository,
      stop: settings.stop,
      cores: availableParallelism(),
      reason,
      log,
    });
    return finish(prepared, request, ran);
  } finally {
    await release();
  }
}

function finish({ plan, cache, inputs }: Prepared, request: ImageRequest, ran: ReadonlySet<string>): Image {
  const { profile } = request;
  const find = (step: string, file: string): string | undefined => {
    const found = plan.find((keyed) => keyed.step.name === step);
    return found === undefined ? undefined : join(cache.output(found), file);
  };
  const output = (step: string, file: string): string => {
    const path = find(step, file);
    if (path === undefined) throw new Error(`step ${step} is not part of this build`);
    return path;
  };
  const image = {
    profile,
    vmlinuz: find(`kernel-${profile}`, "vmlinuz"),
    root: find(`root-${profile}`, "tree"),
    erofs: find(`erofs-${profile}`, "root.erofs"),
    disk: find(`disk-${profile}`, "disk.img"),
    buildRoot: output("buildroot", "tree"),
  };
  const steps = Object.fromEntries(
    plan.map((keyed) => [keyed.step.name, { ms: cache.durationMs(keyed), cached: !ran.has(keyed.step.name) }]),
  );
  const out = join(repository, "out");
  linkOutputs(out, image);
  const report = writeReport(out, {
    ...image,
    packagesStep: packagesOf(profile).step,
    commit: inputs.commit,
    version: inputs.version,
    steps,
    find,
  });
  const keys = Object.fromEntries(plan.map(({ step, key }) => [step.name, key]));
  return { ...image, report, keys, output };
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new AiosError("PERMISSION_DENIED", {
    act: "build",
    object: "an image",
    reason: "it installs packages into a root file system, which only root may",
    next: "run the same command with sudo",
  });
}
