/** What a step costs where this machine has not built it yet. */
interface Weight {
  /** From its start to its end, seconds; of a step that uses every core, of one core. */
  readonly seconds: number;
  /** It uses every core. */
  readonly everyCore?: true;
  /** How many objects it compiles; checked against what it did when it has ended. */
  readonly objects?: number;
}

/**
 * Measured on two cores of a Xeon with a mirror at 80 MB/s, 2026-11-30: the shorter of the durations of two builds each, as
 * step.json has them. That of kernel-metal is an estimate. A step that is not named here takes no time worth telling.
 */
export const weights: Readonly<Record<string, Weight>> = {
  buildroot: { seconds: 45 },
  "kernel-source": { seconds: 12 },
  "kernel-qemu": { seconds: 1_540, everyCore: true, objects: 1_900 },
  "kernel-metal": { seconds: 7_200, everyCore: true },
  packages: { seconds: 32 },
  "packages-metal": { seconds: 40 },
  modules: { seconds: 2 },
  bundles: { seconds: 4 },
  manuals: { seconds: 9 },
  knowledge: { seconds: 3 },
  "root-qemu": { seconds: 1 },
  "root-metal": { seconds: 2 },
  "erofs-qemu": { seconds: 3 },
  "erofs-metal": { seconds: 5 },
  "disk-qemu": { seconds: 3 },
  "disk-metal": { seconds: 3 },
};
