import { copyFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type BuildEvent, buildImage, type ImageRequest, type ImageSettings } from "./image.ts";
import { kernelLock } from "./steps/kernel-source.ts";
import { packagesLock } from "./steps/packages.ts";

const repository = resolve(import.meta.dirname, "..");

/** Installs the mirror's packages of today and writes what that gave into the locks. */
export async function relock(
  request: ImageRequest,
  settings: ImageSettings,
  log: (event: BuildEvent) => void,
): Promise<void> {
  const renewed = { ...request, targets: ["packages", "source"], allowDrift: true } as const;
  const image = await buildImage({ ...renewed, force: ["packages", "kernel-source"] }, settings, log);
  const { drift } = image.report;
  console.error(
    drift.length === 0 ? "image: the locks are up to date" : drift.map((line) => `image: ${line}`).join("\n"),
  );
  copyFileSync(image.output("packages", "packages.lock"), join(repository, packagesLock));
  copyFileSync(image.output("kernel-source", "source.lock"), join(repository, kernelLock));
}
