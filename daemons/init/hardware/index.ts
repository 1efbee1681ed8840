/**
 * The machine's hardware as the kernel shows it, and the drivers of its GPUs.
 * Phase 1 and the network come in.
 */
export { prepareGpus } from "./gpu-drivers.ts";
export { type Hardware, listNics, type Nic, readHardware, shortfalls } from "./hardware.ts";
