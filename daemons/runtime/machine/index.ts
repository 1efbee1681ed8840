/**
 * The machine's means for models: processor cores, memory, GPUs.
 * The models' room alone comes in.
 */
export { watchBusyCores } from "./busy-cores.ts";
export { type Cores, type CoreUser, type Seat, shareCores } from "./cores.ts";
export { type Gpu, type Gpus, gpuCandidates, openGpus, type SpawnProbe } from "./gpu.ts";
export { type MachineMemory, machineMemory, reserveBytes } from "./machine-memory.ts";
