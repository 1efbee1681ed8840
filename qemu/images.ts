import { type BuildEvent, buildImage, type Image, type ImageSettings } from "../image/image.ts";
import type { Target } from "../image/plan.ts";
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
  /** Bytes of each artefact, by its name in out/. */
  readonly bytes: Readonly<Record<string, number>>;
}

const direct: readonly Target[] = ["vmlinuz", "root", "erofs"];

/** Builds what is stale of what the lanes boot. */
export async function buildImages(settings: ImageSettings, log: (event: BuildEvent) => void): Promise<Images> {
  const image = await buildImage({ profile: "qemu", targets: direct }, settings, log);
  return {
    kernel: need(image, "vmlinuz"),
    rootImage: need(image, "erofs"),
    rootTree: need(image, "root"),
    disk: async () => need(await buildImage({ profile: "qemu", targets: ["disk"] }, settings, log), "disk"),
    writeProvisioningVolume: (path, files) => writeProvisioningVolume({ path, files, buildRoot: image.buildRoot }),
    bytes: Object.fromEntries(image.report.artefacts.map(({ name, bytes }) => [name, bytes])),
  };
}

function need(image: Image, target: "vmlinuz" | "erofs" | "root" | "disk"): string {
  const path = image[target];
  if (path === undefined) throw new Error(`the image build made no ${target} although it was asked for`);
  return path;
}
