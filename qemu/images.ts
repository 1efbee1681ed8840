import { AiosError, messageOf } from "#lib/errors";
import { buildImage, type Image, type ImageSettings } from "../image/image.ts";
import type { Target } from "../image/plan.ts";
import type { BuildEvent } from "../image/progress/index.ts";
import { writeProvisioningVolume } from "../image/provision.ts";

/** What the lanes boot, as the image build leaves it. */
export interface Images {
  /** The kernel for direct boot. */
  readonly kernel: string;
  /** The root file system as an image (erofs). */
  readonly rootImage: string;
  /** The same as a folder, for the native lane. */
  readonly rootTree: string;
  /** The flashable disk; built when it is asked for. */
  disk(): Promise<string>;
  /** Writes a provisioning volume (FAT, labelled AIOS-PROV) with these files. */
  writeProvisioningVolume(path: string, files: Readonly<Record<string, string>>): Promise<void>;
  /** Of another commit, whose init may know nothing of the native lane's bounds. */
  readonly ofAnotherCommit?: true;
  /** Bytes of each artefact, by its name in out/. */
  readonly bytes: Readonly<Record<string, number>>;
}

/** What QEMU boots without a disk. */
export const direct: readonly Target[] = ["vmlinuz", "root", "erofs"];

/** Builds what is stale of what the lanes boot, or of what is `wanted` alone: asked for anything else the images throw. */
export async function buildImages(
  settings: ImageSettings,
  log: (event: BuildEvent) => void,
  wanted: readonly Target[] = direct,
): Promise<Images> {
  const image = await built(wanted, settings, log);
  return {
    get kernel() {
      return need(image, "vmlinuz");
    },
    get rootImage() {
      return need(image, "erofs");
    },
    rootTree: need(image, "root"),
    disk: async () => need(await built(["disk"], settings, log), "disk"),
    writeProvisioningVolume: (path, files) => writeProvisioningVolume({ path, files, buildRoot: image.buildRoot }),
    bytes: Object.fromEntries(image.report.artefacts.map(({ name, bytes }) => [name, bytes])),
  };
}

/**
 * Builds with the locked packages; where the mirror has them no more, with those it has today, and says so. What is booted on a
 * developer's machine or tested must not depend on when Debian has made an update; what is flashed does: `npm run image` fails.
 */
async function built(targets: readonly Target[], settings: ImageSettings, log: (event: BuildEvent) => void) {
  try {
    return await buildImage({ profile: "qemu", targets }, settings, log);
  } catch (error) {
    const { cause } = error as { readonly cause?: unknown };
    if (!(cause instanceof AiosError) || cause.code !== "NOT_FOUND") throw error;
    console.error(`image: ${messageOf(cause)}`);
    console.error("image: going on with the mirror's packages of today");
    return await buildImage({ profile: "qemu", targets, allowDrift: true }, settings, log);
  }
}

function need(image: Image, target: "vmlinuz" | "erofs" | "root" | "disk"): string {
  const path = image[target];
  if (path === undefined) throw new Error(`the image build made no ${target} although it was asked for`);
  return path;
}
