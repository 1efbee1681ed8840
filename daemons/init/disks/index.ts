/**
 * The data volume, the root and its overlay, mounts, repair and free space.
 * Phase 1, the chores and the end of the machine come in.
 */
export { openData } from "./data-volume.ts";
export { findVolume, listBlockDevices } from "./disks.ts";
export { mountKernelFiles } from "./mounts.ts";
export { bindData, enterOverlay, leaveRoot, mountOverlay, plainRoot, type Root } from "./root.ts";
export { checkSpace, checkWritable, lookEveryMs } from "./space.ts";
