import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { buildImage, type ImageRequest, type ImageSettings } from "../image.ts";
import type { BuildEvent } from "../progress/index.ts";
import { kernelLock } from "../steps/kernel-source.ts";
import { packagesOf, readLock } from "../steps/packages.ts";
import { formatLock, type LockedPackage, parseLock } from "./lock.ts";

const repository = resolve(import.meta.dirname, "..");

/** Installs the mirror's packages of today and writes what that gave into the locks. */
export async function relock(
  request: ImageRequest,
  settings: ImageSettings,
  log: (event: BuildEvent) => void,
): Promise<void> {
  const renewed = { ...request, targets: ["packages", "source"], allowDrift: true } as const;
  const { step, locks } = packagesOf(request.profile);
  const image = await buildImage({ ...renewed, force: [step, "kernel-source"] }, settings, log);
  const { drift } = image.report;
  console.error(
    drift.length === 0 ? "image: the locks are up to date" : drift.map((line) => `image: ${line}`).join("\n"),
  );
  writeLocks(locks, parseLock("packages.lock", readFileSync(image.output(step, "packages.lock"), "utf8")));
  copyFileSync(image.output("kernel-source", "source.lock"), join(repository, kernelLock));
}

/** The last lock is the one that is renewed: packages that those before it fix are left to them. */
function writeLocks(locks: readonly string[], installed: readonly LockedPackage[]): void {
  const own = locks.at(-1);
  if (own === undefined) return;
  const others = new Set(locks.slice(0, -1).flatMap((lock) => readLock(repository, lock).map(({ name }) => name)));
  writeFileSync(join(repository, own), formatLock(installed.filter(({ name }) => !others.has(name))));
}
