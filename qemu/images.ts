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
}
