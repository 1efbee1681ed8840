import { writeFat } from "./fat.ts";

/** The label by which aios-init finds the volume. */
const provisioningLabel = "AIOS-PROV";

interface ProvisioningVolume {
  /** The image file to make. It holds the machine's private key: readable by its owner only. */
  readonly path: string;
  /** Contents by file name. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** The build root of an image (`Image.buildRoot`), which has the tools. */
  readonly buildRoot: string;
}

/** Makes the volume that hands a machine its identity at first boot: a FAT image of 4 MiB labelled AIOS-PROV. */
export function writeProvisioningVolume({ path, files, buildRoot }: ProvisioningVolume): Promise<void> {
  return writeFat(buildRoot, { path, files, sizeMiB: 4, label: provisioningLabel, volumeId: "a1050002" });
}
